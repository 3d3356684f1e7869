// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"sync"
	"syscall"
)

// A receiver is a goroutine that waits on its channel. It has no thread whose sleep could be looked up, so the sender lets
// its own thread sleep for 200 us before each message, outside of the scheduler; what has no work sleeps by then.
//
// With go the sender then waits for the receiver as any goroutine would, and its own thread may take the receiver on. With
// go-threads the sender is locked to its thread, so another one has to wake up. The receivers stay goroutines: locked ones
// would need a thread each.
const restNs = 200000

type arrival struct {
	channel int
	number  uint64
	at      uint64
}

func doze(ready *sync.WaitGroup, channel int, c <-chan uint64, arrivals chan<- arrival) {
	ready.Done()
	for number := range c {
		arrivals <- arrival{channel, number, now()}
	}
}

// random is the next of a fixed row of pseudo-random numbers.
func random(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func idle(a *args) {
	var ready sync.WaitGroup
	var meter meter
	var state uint64

	channels := make([]chan uint64, a.numbers["channels"])
	arrivals := make(chan arrival, 1)
	ready.Add(len(channels))
	a.side(1)
	before := resident()
	for i := range channels {
		channels[i] = make(chan uint64, 1)
		go doze(&ready, i, channels[i], arrivals)
	}
	ready.Wait()
	bytes := (resident() - before) / len(channels)
	if bytes < 0 {
		bytes = 0
	}

	times := make([]uint64, a.numbers["messages"])
	rest := syscall.Timespec{Nsec: restNs}
	meter.start()
	for i := range times {
		number := uint64(i)
		channel := int(random(&state) % uint64(len(channels)))
		syscall.Nanosleep(&rest, nil)
		sent := now()
		channels[channel] <- number
		got := <-arrivals
		if got.channel != channel || got.number != number {
			fail("a message is missing or came to another channel")
		}
		times[i] = got.at - sent
	}
	meter.stop()
	result(len(times), &meter, times, fmt.Sprintf(" bytes=%d", bytes))
}
