// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// cpuSet is the kernel's mask of up to 1,024 processors.
type cpuSet [16]uint64

// allowed processors of the process as it was started.
var allowed = func() (set cpuSet) {
	affinity(syscall.SYS_SCHED_GETAFFINITY, &set)
	return set
}()

func affinity(call uintptr, set *cpuSet) {
	_, _, errno := syscall.RawSyscall(call, 0, unsafe.Sizeof(*set), uintptr(unsafe.Pointer(set)))
	if errno != 0 {
		fail("affinity: %v", errno)
	}
}

// side makes the calling goroutine the n-th side of the case: with go-threads it keeps the thread that it is on, and that
// one the n-th allowed processor, counted round, if place=split. Go looks at the processors when the program starts and
// not later, so this need not wait for the end of the warm-up.
func (a *args) side(n int) {
	if !a.threads {
		return
	}
	runtime.LockOSThread()
	if a.split {
		placeThread(n)
	}
}

func placeThread(n int) {
	var one cpuSet

	count := 0
	for _, word := range allowed {
		count += bits.OnesCount64(word)
	}
	n %= count
	for cpu := 0; ; cpu++ {
		bit := uint64(1) << (cpu % 64)
		if allowed[cpu/64]&bit == 0 {
			continue
		}
		if n == 0 {
			one[cpu/64] = bit
			break
		}
		n--
	}
	affinity(syscall.SYS_SCHED_SETAFFINITY, &one)
}

var base = time.Now()

// now is the monotonic clock in nanoseconds.
func now() uint64 {
	return uint64(time.Since(base))
}

// cpu is the processor time of the process in nanoseconds.
func cpu() uint64 {
	var usage syscall.Rusage

	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail("getrusage: %v", err)
	}
	return uint64(usage.Utime.Nano() + usage.Stime.Nano())
}

// meter is of a measured part. Different goroutines may start and stop it.
type meter struct {
	wall, cpu uint64
}

func (m *meter) start() {
	m.cpu = cpu()
	m.wall = now()
}

// stop leaves the spans in the meter.
func (m *meter) stop() {
	m.wall = now() - m.wall
	m.cpu = cpu() - m.cpu
}

// result prints the line. times may be nil, more is the rest of the line.
func result(messages int, m *meter, times []uint64, more string) {
	line := fmt.Sprintf("messages=%d wall_ns=%d cpu_ns=%d", messages, m.wall, m.cpu)
	if times != nil {
		sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
		line += fmt.Sprintf(" p50_ns=%d p99_ns=%d", times[len(times)/2], times[len(times)*99/100])
	}
	fmt.Println(line + more)
}

// resident is how many bytes of memory the process has in use.
func resident() int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		fail("%v", err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		fail("%v", err)
	}
	return pages * os.Getpagesize()
}
