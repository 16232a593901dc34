package influx

import "context"

// OrgID asks a 2.x for the ID of its only organization.
func (b *Bucket) OrgID(ctx context.Context) (string, error) {
	var found struct{ Orgs []struct{ ID string } }
	if err := b.getJSON(ctx, "/api/v2/orgs", nil, &found); err != nil || len(found.Orgs) != 1 {
		return "", err
	}
	return found.Orgs[0].ID, nil
}
