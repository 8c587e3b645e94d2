//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/syncfs/syncfs/tests/bench/measure"
)

// syncthing runs two instances that know only each other: A connects to B,
// through the proxy.
type syncthing struct {
	programs
	folder [2]string
	home   [2]string
	gui    [2]string
	cmd    [2]*exec.Cmd
	proxy  *proxy
}

func newSyncthing(dir, a, b string) system {
	return &syncthing{
		programs: programs{dir: dir, env: []string{"STNORESTART=1", "STNOUPGRADE=1", "HOME=" + dir}},
		folder:   [2]string{a, b},
		home:     [2]string{filepath.Join(dir, "home-a"), filepath.Join(dir, "home-b")},
	}
}

// config is the whole of what is not usual; what is left out has its default.
const config = `<configuration version="36">
<folder id="bench" label="bench" path="%s" type="sendreceive" rescanIntervalS="3600" fsWatcherEnabled="true" fsWatcherDelayS="1" paused="true">
<device id="%s"></device><device id="%s"></device>
</folder>
<device id="%s" name="a"><address>%s</address></device>
<device id="%s" name="b"><address>%s</address></device>
<gui enabled="true" tls="false"><address>%s</address><apikey>bench</apikey></gui>
<options><listenAddress>%s</listenAddress><globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>
<relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><urAccepted>-1</urAccepted><autoUpgradeIntervalH>0</autoUpgradeIntervalH>
<crashReportingEnabled>false</crashReportingEnabled><startBrowser>false</startBrowser><reconnectionIntervalS>1</reconnectionIntervalS></options>
</configuration>`

func (s *syncthing) prepare(ctx context.Context) error {
	var ids, listen [2]string
	for i, home := range s.home {
		if _, err := measure.Run(ctx, s.env, "syncthing", "generate", "--home", home, "--no-default-folder", "--skip-port-probing"); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, "syncthing", "--device-id", "--home", home).Output()
		if err != nil {
			return err
		}
		ids[i] = strings.TrimSpace(string(out))
		if s.gui[i], _, err = freePort(); err != nil {
			return err
		}
		if listen[i], _, err = freePort(); err != nil {
			return err
		}
	}
	var err error
	if s.proxy, err = newProxy(listen[1]); err != nil {
		return err
	}
	for i, home := range s.home {
		// B is given no address that it could use, so there is one connection.
		text := fmt.Sprintf(config, s.folder[i], ids[0], ids[1], ids[0], "tcp://127.0.0.1:9", ids[1], "tcp://"+s.proxy.addr(), s.gui[i], "tcp://"+listen[i])
		if err := os.WriteFile(filepath.Join(home, "config.xml"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return s.start(ctx)
}

func (s *syncthing) start(ctx context.Context) error {
	for i, home := range s.home {
		var err error
		if s.cmd[i], err = s.spawn(fmt.Sprintf("syncthing-%d.log", i), nil, "syncthing", "serve", "--home", home, "--no-browser"); err != nil {
			return err
		}
	}
	return measure.WaitFor("the connection", func() bool {
		var c struct {
			Connections map[string]struct{ Connected bool }
		}
		if s.call(ctx, 0, "GET", "system/connections", nil, &c) != nil {
			return false
		}
		for _, one := range c.Connections {
			if one.Connected {
				return true
			}
		}
		return false
	})
}

func (s *syncthing) stop(context.Context) error {
	err := errors.Join(end(s.cmd[0]), end(s.cmd[1]))
	s.cmd = [2]*exec.Cmd{}
	return err
}

// call asks an instance; in and out may be nil.
func (s *syncthing) call(ctx context.Context, machine int, method, what string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.gui[machine]+"/rest/"+what, body)
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", "bench")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, what, res.Status, data)
	}
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(data, out)
}

func (s *syncthing) first(ctx context.Context) error {
	for i := range s.home {
		if err := s.call(ctx, i, "PATCH", "config/folders/bench", map[string]bool{"paused": false}, nil); err != nil {
			return err
		}
	}
	return s.settled(ctx, 30*time.Minute)
}

// settled waits until both say that they have all that the other has.
func (s *syncthing) settled(ctx context.Context, limit time.Duration) error {
	type db struct {
		State                           string
		GlobalFiles, NeedTotalItems     int64
		GlobalBytes, LocalFiles, InSync int64
	}
	var st [2]db
	for end := time.Now().Add(limit); time.Now().Before(end); {
		same := true
		for i := range st {
			if err := s.call(ctx, i, "GET", "db/status?folder=bench", nil, &st[i]); err != nil {
				same = false // it is not there yet
				break
			}
			same = same && st[i].State == "idle" && st[i].NeedTotalItems == 0 && st[i].GlobalFiles > 0
		}
		if same && st[0].GlobalFiles == st[1].GlobalFiles && st[0].LocalFiles == st[1].LocalFiles && st[0].GlobalBytes == st[1].GlobalBytes {
			return nil
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("not settled within %v: %+v", limit, st)
}

func (s *syncthing) bring(context.Context, string) error { return nil }

func (s *syncthing) unchanged(ctx context.Context) error {
	for i := range s.home { // returns when the scan has ended
		if err := s.call(ctx, i, "POST", "db/scan?folder=bench", nil, nil); err != nil {
			return err
		}
	}
	return s.settled(ctx, 10*time.Minute)
}

func (s *syncthing) continuous() bool { return true }

func (s *syncthing) processes() (a, b, server []int) { return pids(s.cmd[0]), pids(s.cmd[1]), nil }

func (s *syncthing) wire() int64 { return s.proxy.bytes.Load() }

func (s *syncthing) close() error {
	return errors.Join(s.stop(context.Background()), s.proxy.close())
}
