// SPDX-License-Identifier: MIT

// The channels of Go. Two peers:
//
//	go          Goroutines, as Go's users write them. The scheduler may run both sides of a channel on one thread, and
//	            then a hand-over is a switch of goroutines. GOMAXPROCS is as it comes. Nothing can be placed.
//	go-threads  Each side is locked to a thread of its own, and place=split keeps it on its processor.
//
// A channel carries its messages by value. Build: go build -o PROGRAM, in this directory.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

const (
	exitFailed = 1
	exitWrong  = 2
	exitNone   = 3
)

const (
	sizeMax      = 4096
	producersMax = 64
	numberMax    = 1 << 40
)

type args struct {
	threads bool // the peer is go-threads
	split   bool // place=split
	one     bool // where=one
	numbers map[string]int
}

// cases names the keys of each case and what runs it.
var cases = map[string]struct {
	keys string
	run  func(*args)
}{
	"stream":    {"capacity size producers messages place", stream},
	"pingpong":  {"where messages place", pingpong},
	"request":   {"outstanding messages place", request},
	"broadcast": {"receivers capacity messages place", broadcast},
	"idle":      {"channels messages place", idle},
	"pair":      {"capacity size messages", pair},
	"watch":     {"op messages place", func(*args) { none("Go has no channel that keeps the newest value") }},
}

// fail ends a run that went wrong. From any goroutine.
func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(exitFailed)
}

func none(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(exitNone)
}

func wrong(what string) {
	fmt.Fprintln(os.Stderr, "wrong argument:", what)
	os.Exit(exitWrong)
}

// choose returns whether value is yes; it has to be yes or no.
func choose(arg, value, yes, no string) bool {
	if value != yes && value != no {
		wrong(arg)
	}
	return value == yes
}

// parse takes one KEY=VALUE. keys are those of the case.
func (a *args) parse(arg, keys string) {
	key, value, found := strings.Cut(arg, "=")
	if !found || !strings.Contains(" "+keys+" ", " "+key+" ") {
		wrong(arg)
	}
	switch key {
	case "place":
		a.split = choose(arg, value, "split", "free")
	case "where":
		a.one = choose(arg, value, "one", "threads")
	case "op":
		choose(arg, value, "read", "send")
	default:
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil || n > numberMax || n == 0 && key != "capacity" {
			wrong(arg)
		}
		a.numbers[key] = int(n)
	}
}

func main() {
	a := args{numbers: map[string]int{"messages": 1000000, "capacity": 0, "size": 8, "producers": 1, "receivers": 1,
		"outstanding": 1, "channels": 1}}

	if len(os.Args) < 3 {
		wrong("PEER CASE [KEY=VALUE...]")
	}
	a.threads = choose(os.Args[1], os.Args[1], "go-threads", "go")
	row, found := cases[os.Args[2]]
	if !found {
		none("it has no such case")
	}
	for _, arg := range os.Args[3:] {
		a.parse(arg, row.keys)
	}
	if a.numbers["size"]%8 != 0 || a.numbers["size"] > sizeMax || a.numbers["producers"] > producersMax {
		wrong("a number out of its range")
	}
	row.run(&a)
}
