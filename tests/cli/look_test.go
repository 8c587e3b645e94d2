//go:build linux

package cli_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdJSON looks into what was printed last.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH WANT")
	}
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("what was printed is no JSON: %v", err)
	}
	got, err := pick(v, args[0])
	if err != nil {
		ts.Fatalf("%s: %v in %v", args[0], err, v)
	}
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %q", args[0], got)
	}
}

// pick follows a path of names and numbers; "len" is how many there are.
func pick(v any, path string) (string, error) {
	for _, step := range strings.Split(path, ".") {
		switch at := v.(type) {
		case []any:
			if step == "len" {
				v = float64(len(at))
				continue
			}
			i, err := strconv.Atoi(step)
			if err == nil && i < 0 {
				i += len(at)
			}
			if err != nil || i < 0 || i >= len(at) {
				return "", fmt.Errorf("there is no element %q", step)
			}
			v = at[i]
		case map[string]any:
			next, ok := at[step]
			if !ok {
				return "", fmt.Errorf("there is no %q", step)
			}
			v = next
		default:
			return "", fmt.Errorf("%q leads nowhere", step)
		}
	}
	switch at := v.(type) {
	case string:
		return at, nil
	case float64:
		return strconv.FormatFloat(at, 'f', -1, 64), nil
	}
	return fmt.Sprint(v), nil
}

// cmdSince remembers an instant of `versions --json`.
func cmdSince(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: since NAME INDEX")
	}
	var rows []struct {
		Instant string
		Time    time.Time
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &rows))
	i, err := strconv.Atoi(args[1])
	ts.Check(err)
	if i < 0 {
		i += len(rows)
	}
	if i < 0 || i >= len(rows) {
		ts.Fatalf("there are %d versions, none is the %s", len(rows), args[1])
	}
	if begin := rows[i].Time.UTC().Format("20060102_150405"); !strings.HasPrefix(rows[i].Instant, begin) {
		ts.Fatalf("the instant %s is not of its time %s", rows[i].Instant, rows[i].Time)
	}
	ts.Setenv(args[0], rows[i].Instant)
}

// cmdDamage flips a bit in the middle of files.
func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage GLOB")
	}
	list, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(list) == 0 {
		ts.Fatalf("nothing matches %s", args[0])
	}
	for _, path := range list {
		data, err := os.ReadFile(path)
		ts.Check(err)
		data[len(data)/2] ^= 1
		ts.Check(os.Chmod(path, 0o600))
		ts.Check(os.WriteFile(path, data, 0o600))
	}
}

// cmdAnswers starts a web server that is none of ours.
func cmdAnswers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: answers NAME TEXT")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(args[1]))
	})}
	done := make(chan struct{})
	go func() {
		_ = server.Serve(l)
		close(done)
	}()
	m := of(ts)
	m.mu.Lock()
	m.closers = append(m.closers, func() {
		_ = server.Close()
		<-done
	})
	m.mu.Unlock()
	ts.Setenv(args[0], "http://"+l.Addr().String())
}
