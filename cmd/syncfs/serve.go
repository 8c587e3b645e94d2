package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/remote"
)

type serveOptions struct {
	data    string
	listen  string
	key     keyFlags
	tls     bool
	tlsCert string
	tlsKey  string
	json    bool
	keep    config.Duration
}

func newServeCommand(e *env) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a repository to other machines",
		Long: `Serve a repository, in a directory of this machine, to other machines. The
server never sees a passphrase or a name of a file.

Without --key, and when there is no token yet, a first key is made and printed
once. "syncfs serve token" makes keys with fewer rights. With --tls a
certificate is made and its fingerprint printed, for clients to pin at init and
connect.`,
		Example: `  syncfs serve --data /srv/syncfs --listen 127.0.0.1:5000
  syncfs serve --data /srv/syncfs --listen :5000 --tls
  syncfs serve token add --data /srv/syncfs --role append laptop`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error { return runServe(ctx, e, o) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "", "keep everything in this `directory`")
	f.StringVar(&o.listen, "listen", "127.0.0.1:5000", "`address` to listen at (:5000 is every address of this machine)")
	o.key.add(cmd.Flags(), "accept this key, with all rights, as long as the server runs")
	f.BoolVar(&o.tls, "tls", false, "encrypt connections with a certificate of our own making")
	f.StringVar(&o.tlsCert, "tls-cert", "", "encrypt connections with the certificate in this PEM `file`")
	f.StringVar(&o.tlsKey, "tls-key", "", "PEM `file` with the certificate's key")
	f.BoolVar(&o.json, "log-json", false, "log in JSON")
	o.keep = config.Duration(30 * 24 * time.Hour)
	f.Var(&o.keep, "keep-uploads", "how long files of the File Storage API stay recoverable after they were replaced or deleted")
	cmd.AddCommand(newTokenCommand(e), newUploadsCommand(e))
	return cmd
}

func runServe(ctx context.Context, e *env, o serveOptions) (err error) {
	dir, err := o.dataDir(e)
	if err != nil {
		return err
	}
	if (o.tlsCert == "") != (o.tlsKey == "") {
		return usage("--tls-cert and --tls-key go together")
	}
	key, err := o.key.value(e)
	if err != nil {
		return err
	}
	log := e.serverLog(o)
	data, err := remote.OpenData(dir, remote.DataOptions{Now: e.now, Logger: log})
	if err != nil {
		return busyData(err)
	}
	defer func() { err = errors.Join(err, data.Close()) }()

	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return hinted(fmt.Errorf("listen at %s: %w", o.listen, err), "--listen takes another address")
	}
	config, fingerprint, err := o.certificate(data, ln)
	if err == nil && key != "" {
		err = data.Tokens.Grant("given", remote.RoleAdmin, key)
	}
	first := ""
	if err == nil {
		first, err = data.Tokens.First()
	}
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	options := data.ServerOptions()
	options.Version, options.KeepUploads = buildInfo().Version, time.Duration(o.keep)
	server, err := remote.NewServer(options)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	e.announce(ln, dir, fingerprint, first)
	return server.Serve(ctx, ln, config)
}

// dataDir is where the server keeps everything: --data or SYNCFS_DATA.
func (o serveOptions) dataDir(e *env) (string, error) {
	dir := o.data
	if dir == "" {
		dir = e.getenv("SYNCFS_DATA")
	}
	if dir == "" {
		return "", hinted(errors.New("serve: --data is missing"), "say where to keep everything: `syncfs serve --data DIR`")
	}
	dir, err := abs(dir)
	if err != nil {
		return "", err
	}
	// The state of this HOME is no place for a server that others write into.
	if dirs, err := e.dirs(); err == nil && (config.Below(dir, dirs.State) || config.Below(dir, dirs.Cache)) {
		return "", fmt.Errorf("%s is below syncfs's own state", dir)
	}
	return dir, nil
}

func busyData(err error) error {
	if errors.Is(err, remote.ErrBusy) {
		return hinted(coded(exitBusy, err), "stop that server, or give another --data")
	}
	return err
}

// serverLog is the server's structured log, on stderr.
func (e *env) serverLog(o serveOptions) *slog.Logger {
	level := slog.LevelInfo
	switch {
	case e.quiet:
		level = slog.LevelWarn
	case e.verbose > 0:
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	if o.json {
		return slog.New(slog.NewJSONHandler(e.stderr, options))
	}
	return slog.New(slog.NewTextHandler(e.stderr, options))
}

// certificate is the TLS configuration, nil for none, and its fingerprint.
func (o serveOptions) certificate(data *remote.Data, ln net.Listener) (*tls.Config, string, error) {
	switch {
	case o.tlsCert != "":
		return remote.LoadCertificate(o.tlsCert, o.tlsKey)
	case o.tls:
		return data.SelfSigned(hostNames(ln))
	}
	return nil, "", nil
}

// hostNames are what clients may call this machine by.
func hostNames(ln net.Listener) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	if host, _, err := net.SplitHostPort(ln.Addr().String()); err == nil {
		names = append(names, host)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return names
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() {
			names = append(names, ip.IP.String())
		}
	}
	return names
}

// announce prints what a user needs in order to connect.
func (e *env) announce(ln net.Listener, dir, fingerprint, first string) {
	scheme := "http"
	if fingerprint != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		host, port = ln.Addr().String(), ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			host = "localhost"
		}
	}
	url := scheme + "://" + net.JoinHostPort(host, port)
	e.say("serving %s at %s", filepath.Clean(dir), url)
	if fingerprint != "" {
		e.say("fingerprint %s", fingerprint)
	}
	if first != "" {
		fmt.Fprintf(e.stdout, "first key   %s\n", first)
		e.say("            (shown this once; `syncfs serve token` makes others)")
	}
	pin := ""
	if fingerprint != "" {
		pin = " --fingerprint " + fingerprint
	}
	e.say("next, on any machine: syncfs init %s --key KEY%s", url, pin)
}
