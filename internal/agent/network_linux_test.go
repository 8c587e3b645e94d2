package agent

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

// In a network of its own, since it changes addresses.
func TestTheSystemTellsOfAddresses(t *testing.T) {
	if os.Getenv("SYNCFS_TEST_OWN_NETWORK") == "" {
		cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^TestTheSystemTellsOfAddresses$", "-test.v")
		cmd.Env = append(os.Environ(), "SYNCFS_TEST_OWN_NETWORK=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() { ended <- networkChanges(ctx, func() { changed <- struct{}{} }) }()
	end := time.After(20 * time.Second)
	for told := false; !told; {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if out, err := exec.Command("ip", "address", "add", "192.0.2.1/24", "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		select {
		case <-changed:
			told = true
		case <-time.After(200 * time.Millisecond): // it may not have listened yet
		case <-end:
			t.Fatal("nothing is told")
		}
		if out, err := exec.Command("ip", "address", "del", "192.0.2.1/24", "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}
