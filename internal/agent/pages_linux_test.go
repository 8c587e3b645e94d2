package agent

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const someSmaps = `00400000-00c40000 r-xp 00000000 08:01 123 /usr/bin/syncfs
Rss:                8000 kB
Anonymous:             0 kB
AnonHugePages:         0 kB
00c40000-00d00000 r--p 00840000 08:01 123 /usr/bin/syncfs
Anonymous:             4 kB
00d00000-00e00000 rw-p 00900000 08:01 123 /usr/bin/syncfs
Anonymous:             0 kB
c000000000-c000400000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f0000000000-7f0000100000 r--s 00000000 08:01 77 /home/me/db/a file.sst
Anonymous:             0 kB
7ffff0000000-7ffff0002000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
`

func TestOnlyCleanPagesOfFilesAreUnmapped(t *testing.T) {
	list, err := cleanMappings(strings.NewReader(someSmaps))
	want := []mapping{{0x400000, 0xc40000}, {0x7f0000000000, 0x7f0000100000}}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%x, %v", list, err)
	}
}

func TestUnmappedFilesCanStillBeRead(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := []byte(strings.Repeat("0123456789abcdef", 4096))
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, len(content), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	if !slices.Equal(mem, content) {
		t.Fatal("the mapping is not the file")
	}
	before := residentFilePages(t)
	if err := unmapFiles(); err != nil {
		t.Fatal(err)
	}
	if after := residentFilePages(t); after >= before {
		t.Errorf("%d pages of files before, %d after", before, after)
	}
	if !slices.Equal(mem, content) {
		t.Error("the mapping lost its content")
	}
}

func residentFilePages(t *testing.T) (kB int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssFile:"); ok {
			for _, c := range rest {
				if c >= '0' && c <= '9' {
					kB = kB*10 + int(c-'0')
				}
			}
			return kB
		}
	}
	t.Fatal("no RssFile")
	return 0
}
