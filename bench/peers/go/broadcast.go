// SPDX-License-Identifier: MIT

package main

import (
	"sync/atomic"
)

// Go has no broadcast channel. The sender sends to a channel for each receiver, and waits where one is full.
//
// With go a receiver is a goroutine. With go-threads half of the receivers are on each of two threads. Such a thread takes
// from its channels in turn, which it can since each gets every message.

// round is one phase: the last thread or goroutine that has had everything stops the clock.
type round struct {
	sends int
	left  atomic.Int64
	done  chan struct{}
	meter meter
}

func listen(a *args, side int, channels []chan uint64, rounds []round) {
	a.side(side)
	next := uint64(0)
	for i := range rounds {
		r := &rounds[i]
		for n := r.sends; n > 0; n-- {
			for _, c := range channels {
				if <-c != next {
					fail("a message is missing, doubled or out of order")
				}
			}
			next++
		}
		if r.left.Add(-1) == 0 {
			r.meter.stop()
			close(r.done)
		}
	}
}

func broadcast(a *args) {
	var rounds [phases]round

	if a.numbers["capacity"] == 0 {
		none("a channel of Go always has a bound")
	}
	receivers := a.numbers["receivers"]
	channels := make([]chan uint64, receivers)
	for i := range channels {
		channels[i] = make(chan uint64, a.numbers["capacity"])
	}
	listeners := receivers
	if a.threads && receivers > 2 {
		listeners = 2
	}
	sends := (a.numbers["messages"] + receivers - 1) / receivers
	for i, count := range [phases]int{sends/5 + 1, sends} {
		r := &rounds[i]
		r.sends = count
		r.left.Store(int64(listeners))
		r.done = make(chan struct{})
	}
	for i := 0; i < listeners; i++ {
		go listen(a, i, channels[i*receivers/listeners:(i+1)*receivers/listeners], rounds[:])
	}
	a.side(listeners)
	next := uint64(0)
	for i := range rounds {
		r := &rounds[i]
		r.meter.start()
		for n := r.sends; n > 0; n-- {
			for _, c := range channels {
				c <- next
			}
			next++
		}
		<-r.done
	}
	result(sends*receivers, &rounds[phases-1].meter, nil, "")
}
