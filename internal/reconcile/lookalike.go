package reconcile

import "github.com/syncfs/syncfs/versions"

// lookalikes tells of names that both sides have made new and that differ in
// case or Unicode form only.
func (m *merger) lookalikes(d dir, changes []change) {
	var byFold map[string]string
	for _, c := range changes {
		if c.b == nil && c.l != nil && c.r == nil {
			if byFold == nil {
				byFold = map[string]string{}
			}
			byFold[versions.FoldName(c.name)] = c.name
		}
	}
	if byFold == nil {
		return
	}
	for _, c := range changes {
		if c.b != nil || c.l != nil || c.r == nil {
			continue
		}
		if local, ok := byFold[versions.FoldName(c.name)]; ok {
			m.plan.Lookalike = append(m.plan.Lookalike, Lookalike{Local: d.join(local), Remote: d.join(c.name)})
		}
	}
}
