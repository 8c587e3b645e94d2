package config_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/internal/config"
)

func TestMissingFileIsTheDefaults(t *testing.T) {
	got, err := config.Load(filepath.Join(t.TempDir(), "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := config.Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFileOverridesOnlyWhatItNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	text := `
[spool]
limit = "3GiB"
[mount]
allow-other = "no"
passthrough = false
versions = "all"
[sync]
settle = "500ms"
[limit]
upload = "1MiB/s"
[log]
level = "debug"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Spool.Limit = 3 << 30
	want.Mount = config.Mount{AllowOther: config.No, Passthrough: false, Versions: config.ListAll}
	want.Sync.Settle = config.Duration(500 * time.Millisecond)
	want.Limit.Upload = 1 << 20
	want.Log.Level = slog.LevelDebug
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown setting", "[spool]\nlimt = \"1GiB\"\n", "spool.limt"},
		{"unknown section", "[spol]\nlimit = \"1GiB\"\n", "spol"},
		{"bad size", "[cache]\nlimit = \"lots\"\n", "lots"},
		{"negative size", "[cache]\nlimit = \"-1GiB\"\n", "-1GiB"},
		{"cache too small", "[cache]\nlimit = \"1MiB\"\n", "64MiB"},
		{"spool too small", "[spool]\nlimit = \"1MiB\"\n", "64MiB"},
		{"on-demand limit too small", "[on-demand]\nlimit = \"1KiB\"\n", "1MiB"},
		{"bad time", "[sync]\nsettle = \"soon\"\n", "soon"},
		{"settle too long", "[sync]\nsettle = \"1h\"\n", "sync.settle"},
		{"commits too rare", "[sync]\ncommit-every = \"1h\"\n", "sync.commit-every"},
		{"limit too small", "[limit]\nupload = \"5\"\n", "limit.upload"},
		{"bad rate", "[limit]\nupload = \"fast\"\n", "not a rate"},
		{"bad choice", "[mount]\nallow-other = \"perhaps\"\n", "perhaps"},
		{"bad listing", "[mount]\nversions = \"here\"\n", "here"},
		{"a file somewhere", "[unlock]\nfile = \"secret\"\n", "not an absolute path"},
		{"a credential elsewhere", "[unlock]\ncredential = \"../secret\"\n", "not the name"},
		{"no TOML", "spool: limit\n", "line 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := config.Parse([]byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestEverySettingIsKnownByName(t *testing.T) {
	values := map[string]string{
		"spool.limit": `"1GiB"`, "cache.limit": `"1GiB"`, "mount.allow-other": `"yes"`,
		"on-demand.limit": `"1GiB"`, "on-demand.no-fetch": `["indexer"]`,
		"mount.passthrough": "true", "mount.versions": `"none"`, "sync.settle": `"2s"`, "sync.commit-every": `"1m"`, "limit.upload": `"1MiB/s"`, "limit.download": `"0"`,
		"unlock.credential": `"other"`, "unlock.file": `"/secret"`, "unlock.command": `"pass syncfs"`, "unlock.keyring": "false", "log.level": `"warn"`,
	}
	for _, name := range config.Names() {
		if _, err := config.Parse([]byte(name + " = " + values[name])); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSizesSurviveWritingAndReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := config.Size(rapid.Int64Range(0, 1<<52).Draw(t, "size"))
		got, err := config.ParseSize(want.String())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: got %v, %v", want, got, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("[spool]\nlimit = \"3GiB\"\n"))
	f.Add([]byte("log.level = 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := config.Parse(data); err == nil && c.Cache.Limit <= 0 {
			t.Errorf("accepted a cache of %d bytes", c.Cache.Limit)
		}
	})
}

func TestADurationIsReadAsPeopleWriteIt(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration // -1: refused
	}{
		{"500ms", 500 * time.Millisecond},
		{"10m", 10 * time.Minute},
		{"1h30m", 90 * time.Minute},
		{"30d", 30 * 24 * time.Hour},
		{"2w", 14 * 24 * time.Hour},
		{"1w2d3h", 9*24*time.Hour + 3*time.Hour},
		{"0s", 0},
		{"", -1},
		{"30", -1},
		{"-1h", -1},
		{"month", -1},
	}
	for _, tt := range tests {
		var d config.Duration
		err := d.Set(tt.text)
		if (err != nil) != (tt.want < 0) {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if err != nil {
			continue
		}
		if time.Duration(d) != tt.want {
			t.Errorf("%q is %v, want %v", tt.text, time.Duration(d), tt.want)
		}
		var again config.Duration
		if err := again.Set(d.String()); err != nil || again != d {
			t.Errorf("%q is written as %q, which reads as %v, %v", tt.text, d, time.Duration(again), err)
		}
	}
}
