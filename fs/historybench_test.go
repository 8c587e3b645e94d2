//go:build linux

package fs_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkPast walks and reads versions of a large tree, cold: each time in a
// mount of its own. SYNCFS_BENCH_TREE names the tree (such as that of the
// unpacked linux-source-6.1), SYNCFS_BENCH_TAR a directory in it to read.
func BenchmarkPast(b *testing.B) {
	tree, sub := os.Getenv("SYNCFS_BENCH_TREE"), os.Getenv("SYNCFS_BENCH_TAR")
	if tree == "" {
		b.Log("SYNCFS_BENCH_TREE is not set: a small tree")
		tree, sub = original(b), "."
	}
	s := newPastSource()
	s.land(b, instant(1), s.capture(b, tree))
	for _, job := range []struct{ name, script string }{
		{"find", `find .versions/20250201_000001/ | wc -l`},
		{"find-attributes", `find .versions/20250201_000001/ -newer /proc/1 -size +1000G | wc -l`},
		{"tar", fmt.Sprintf(`tar -cf - -C .versions/20250201_000001/%s . | wc -c`, sub)},
		{"du", `du -s .versions/20250201_000001/ | cut -f1`},
	} {
		b.Run(job.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				dir, m := mountPast(b, s, withClock)
				sh(b, dir, `ls .versions >/dev/null`)
				before := cpuTime(b)
				b.StartTimer()
				sh(b, dir, job.script)
				b.StopTimer()
				b.ReportMetric(float64((cpuTime(b) - before).Milliseconds()), "cpu-ms")
				b.ReportMetric(float64(m.Stats().Nodes), "nodes")
				b.StartTimer()
			}
		})
		b.Run(job.name+"-warm", func(b *testing.B) {
			dir, _ := mountPast(b, s, withClock)
			sh(b, dir, job.script)
			before := cpuTime(b)
			for b.Loop() {
				sh(b, dir, job.script)
			}
			b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms")
		})
	}
}

// cpuTime is what we and our children have used, which a busy machine stretches
// less than the time that passed.
func cpuTime(b *testing.B) (sum time.Duration) {
	b.Helper()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if err := unix.Getrusage(who, &r); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return sum
}
