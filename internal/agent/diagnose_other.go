//go:build !linux

package agent

func lingering(int) bool { return false }

func isDead(string) (bool, error) { return false, nil }

func passing(mounting) *Passthrough { return nil }
