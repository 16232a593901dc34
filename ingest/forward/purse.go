package forward

// purse is the Allowance of a part of a job: so many new tracks, paid for by the node that has the client.
type purse struct{ room int }

func (p *purse) Room() int      { return p.room }
func (p *purse) Pay(int)        {}
func (p *purse) Refusal() error { return nil } // the parts decide together
