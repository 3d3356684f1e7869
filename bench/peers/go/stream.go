// SPDX-License-Identifier: MIT

package main

import (
	"sync"
	"sync/atomic"
)

const (
	idShift   = 56
	placeMask = 1<<idShift - 1
	portion   = 4096
	phases    = 2 // the first one warms up
)

// message is what a channel carries by value. The length of an array is part of its type, so each size is compiled apart.
type message interface {
	[1]uint64 | [2]uint64 | [4]uint64 | [8]uint64 | [16]uint64 | [32]uint64 | [64]uint64 | [128]uint64 | [256]uint64 | [512]uint64
}

// flow is what runs with messages of one size.
type flow struct {
	stream, pair func(*args)
}

func flowOf[M message]() flow {
	return flow{streamOf[M], pairOf[M]}
}

var flows = map[int]flow{
	8: flowOf[[1]uint64](), 16: flowOf[[2]uint64](), 32: flowOf[[4]uint64](), 64: flowOf[[8]uint64](),
	128: flowOf[[16]uint64](), 256: flowOf[[32]uint64](), 512: flowOf[[64]uint64](), 1024: flowOf[[128]uint64](),
	2048: flowOf[[256]uint64](), 4096: flowOf[[512]uint64](),
}

// flowFor finds the flow of the case's size.
func flowFor(a *args) flow {
	if a.numbers["capacity"] == 0 {
		none("a channel of Go always has a bound")
	}
	f, found := flows[a.numbers["size"]]
	if !found {
		none("only sizes that are a power of two are compiled")
	}
	return f
}

func stream(a *args) {
	flowFor(a).stream(a)
}

func pair(a *args) {
	if a.threads {
		none("one thread alone: as go")
	}
	flowFor(a).pair(a)
}

func fill[M message](m *M, producer int, place uint64) {
	word := uint64(producer)<<idShift | place
	(*m)[0] = word
	if len(*m) > 1 {
		(*m)[len(*m)-1] = ^word
	}
}

// take fails unless m is the next message of its producer.
func take[M message](next []uint64, m *M) {
	word := (*m)[0]
	id := word >> idShift
	if id >= uint64(len(next)) || word&placeMask != next[id] {
		fail("a message is missing, doubled or out of order")
	}
	if len(*m) > 1 && (*m)[len(*m)-1] != ^word {
		fail("a message has changed on its way")
	}
	next[id]++
}

// part is what the producers share in one phase.
type part struct {
	count int
	left  atomic.Int64 // messages that nobody has begun to send
	ready sync.WaitGroup
	gate  chan struct{}
	first sync.Once
	meter meter
}

func produce[M message](a *args, c chan<- M, id int, parts []part) {
	var m M
	var place uint64

	a.side(id + 1)
	for i := range parts {
		p := &parts[i]
		p.ready.Done()
		<-p.gate
		p.first.Do(p.meter.start)
		for {
			left := p.left.Add(-portion) + portion
			if left <= 0 {
				break
			}
			if left > portion {
				left = portion
			}
			for end := place + uint64(left); place != end; place++ {
				fill(&m, id, place)
				c <- m
			}
		}
	}
}

func streamOf[M message](a *args) {
	var m M
	var parts [phases]part

	a.side(0)
	producers := a.numbers["producers"]
	c := make(chan M, a.numbers["capacity"])
	next := make([]uint64, producers)
	for i, count := range [phases]int{a.numbers["messages"]/5 + 1, a.numbers["messages"]} {
		p := &parts[i]
		p.count = count
		p.left.Store(int64(count))
		p.ready.Add(producers)
		p.gate = make(chan struct{})
	}
	for id := 0; id < producers; id++ {
		go produce(a, c, id, parts[:])
	}
	for i := range parts {
		p := &parts[i]
		p.ready.Wait()
		close(p.gate)
		for n := p.count; n > 0; n-- {
			m = <-c
			take(next, &m)
		}
		p.meter.stop()
	}
	if len(c) != 0 {
		fail("more messages than were sent")
	}
	p := &parts[phases-1]
	result(p.count, &p.meter, nil, "")
}

func pairOf[M message](a *args) {
	var m, got M
	var meter meter

	c := make(chan M, a.numbers["capacity"])
	next := []uint64{0}
	count := uint64(a.numbers["messages"])
	meter.start()
	for place := uint64(0); place != count; place++ {
		fill(&m, 0, place)
		c <- m
		got = <-c
		take(next, &got)
	}
	meter.stop()
	result(int(count), &meter, nil, "")
}
