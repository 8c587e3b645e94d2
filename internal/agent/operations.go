package agent

import "sync"

// keptOperations is how many operations are kept.
const keptOperations = 2000

// operations is the log of what was done, newest last, bounded.
type operations struct {
	mu   sync.Mutex // guards list
	list []Operation
}

func (o *operations) add(op Operation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, op)
	if len(o.list) > 2*keptOperations {
		o.list = append([]Operation(nil), o.list[len(o.list)-keptOperations:]...)
	}
}

// newest returns at most limit operations, oldest first.
func (o *operations) newest(limit int) []Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list
	if limit <= 0 || limit > keptOperations {
		limit = keptOperations
	}
	if len(list) > limit {
		list = list[len(list)-limit:]
	}
	return append([]Operation{}, list...)
}
