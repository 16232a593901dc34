// Package rider is pingline rider: it gives out all that is known of a rider, and has it
// removed.
//
// Stores are read with the flags that serve has. What only a running server knows, it is
// asked for on its operations listener.
package rider

import (
	"fmt"

	"pingline"
)

// RightsCmd is the commands about a rider.
type RightsCmd struct {
	Export ExportCmd `cmd:"" help:"Write all that is known of a rider, in order of time."`
	Delete DeleteCmd `cmd:"" help:"Remove all that is known of a rider, from stores, memory, log and dead letters."`
}

// ID is the argument that names a rider.
type ID struct {
	ID string `arg:"" name:"id" help:"The rider, as in rider_id."`
}

func (a *ID) check() error {
	if err := pingline.CheckID(pingline.KeyRider.String(), a.ID); err != nil {
		return fmt.Errorf("ID: %w", err)
	}
	return nil
}
