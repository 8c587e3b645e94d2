package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/remote"
)

// isServer tells a server's URL from the path of a directory.
func isServer(url string) bool {
	return strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
}

// greet asks a server who it is before the user is asked for a passphrase, and
// returns the fingerprint to pin, if any: a certificate that nobody vouches for
// is shown to the user. wantRepository says whether one must be there; it is
// told with store.ErrExists where none should, and the fingerprint all the same.
func (e *env) greet(ctx context.Context, s agent.SetupOptions, wantRepository bool) (pin string, err error) {
	if !isServer(s.URL) {
		if scheme, _, ok := strings.Cut(s.URL, "://"); ok {
			return "", usage("%s: there is no %q: a repository is at http://…, https://… or in a directory", s.URL, scheme)
		}
		return "", nil
	}
	pin = s.Pin
	if pin != "" {
		if pin, err = remote.ParseFingerprint(pin); err != nil {
			return "", usage("--fingerprint: %w", err)
		}
	}
	info, err := probe(ctx, s, pin)
	var untrusted *remote.UntrustedError
	if errors.As(err, &untrusted) && untrusted.Pinned == "" {
		if err := e.accept(untrusted); err != nil {
			return "", err
		}
		pin = untrusted.Fingerprint
		info, err = probe(ctx, s, pin)
	}
	switch {
	case err != nil:
		return "", err
	case info.Repository && !wantRepository:
		return pin, fmt.Errorf("%s: %w", s.URL, store.ErrExists)
	case !info.Repository && wantRepository:
		return "", fmt.Errorf("%s: %w", s.URL, store.ErrNoRepository)
	}
	return pin, nil
}

func probe(ctx context.Context, s agent.SetupOptions, pin string) (info remote.ServerInfo, err error) {
	c, err := remote.NewClient(remote.ClientOptions{URL: s.URL, Key: s.Key, Pin: pin, Logger: s.Logger, Tries: 3})
	if err != nil {
		return info, err
	}
	defer c.Close()
	info, err = c.Probe(ctx)
	switch {
	case errors.Is(err, blob.ErrUnauthorized) && s.Key == "":
		return info, hinted(coded(exitWrongKey, fmt.Errorf("%s wants a key", s.URL)),
			"give the key that the server printed with --key, --key-file or SYNCFS_KEY")
	case errors.Is(err, blob.ErrOffline):
		return info, hinted(err, "is `syncfs serve` running there, and is this the address that it printed?")
	}
	return info, err
}

// accept asks whether the certificate is the server's.
func (e *env) accept(u *remote.UntrustedError) error {
	if _, ok := terminal(e.stdin); !ok {
		return hinted(u, "compare it with the fingerprint that the server printed, then give it: --fingerprint %s", u.Fingerprint)
	}
	fmt.Fprintf(e.stderr, "Nobody vouches for the server's certificate. Its fingerprint is\n  %s\nDoes the server print the same? (yes/no) ", u.Fingerprint)
	answer, err := bufio.NewReader(e.stdin).ReadString('\n')
	if err != nil || strings.TrimSpace(strings.ToLower(answer)) != "yes" {
		return errors.New("the server's certificate is not accepted")
	}
	return nil
}
