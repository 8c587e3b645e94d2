package remote_test

import (
	"testing"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/blob/blobtest"
)

func TestAClientIsAStore(t *testing.T) {
	tests := []struct {
		name string
		tls  bool
		mem  bool
	}{
		{"http, directory", false, false},
		{"http, memory", false, true},
		{"https with http/2, directory", true, false},
		{"https with http/2, memory", true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blob.Store {
				o := worldOptions{tls: test.tls}
				if test.mem {
					o.store = blob.NewMem(nil)
				}
				return serve(t, o).client(nil)
			})
		})
	}
}
