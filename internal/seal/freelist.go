package seal

import "runtime"

// freeList keeps as many idle values as there are processors. A sync.Pool would
// give them up at every other collection, and these are large: making them anew
// is what would keep the collector busy.
type freeList[T any] struct {
	idle   chan T
	create func() T
}

func newFreeList[T any](create func() T) freeList[T] {
	return freeList[T]{idle: make(chan T, runtime.GOMAXPROCS(0)), create: create}
}

func (f *freeList[T]) get() T {
	select {
	case v := <-f.idle:
		return v
	default:
		return f.create()
	}
}

// drop gives up the idle values.
func (f *freeList[T]) drop() {
	for {
		select {
		case <-f.idle:
		default:
			return
		}
	}
}

func (f *freeList[T]) put(v T) {
	select {
	case f.idle <- v:
	default:
	}
}
