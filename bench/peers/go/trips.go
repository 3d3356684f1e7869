// SPDX-License-Identifier: MIT

package main

import "runtime"

// pong answers each number with the one after it.
func pong(a *args, there <-chan uint64, back chan<- uint64, rounds int) {
	a.side(1)
	for n := uint64(0); n != uint64(2*rounds); n += 2 {
		if <-there != n {
			fail("a message is missing, doubled or out of order")
		}
		back <- n + 1
	}
}

// ping makes as many rounds from number first on. times may be nil, else it gets the time of each.
func ping(there chan<- uint64, back <-chan uint64, first, rounds int, times []uint64) {
	last := now()
	for i := 0; i < rounds; i++ {
		n := uint64(2 * (first + i))
		there <- n
		if <-back != n+1 {
			fail("a message is missing, doubled or out of order")
		}
		if times != nil {
			end := now()
			times[i] = end - last
			last = end
		}
	}
}

// pingpong goes over channels without a buffer: a send hands the number to the receiver that waits.
func pingpong(a *args) {
	var meter meter
	var times []uint64

	messages := a.numbers["messages"]
	rounds := messages
	if a.one {
		if a.threads {
			none("each side has a thread of its own")
		}
		runtime.GOMAXPROCS(1)
		rounds = (messages + 1) / 2
		messages = 2 * rounds
	} else {
		times = make([]uint64, rounds)
	}
	warm := rounds/10 + 1
	there, back := make(chan uint64), make(chan uint64)
	a.side(0)
	go pong(a, there, back, warm+rounds)
	ping(there, back, 0, warm, nil)
	meter.start()
	ping(there, back, warm, rounds, times)
	meter.stop()
	result(messages, &meter, times, "")
}

const requestCapacity = 1024

// call is a request as Go's users write it: the answer comes through a new channel with room for it, as in net/rpc.
type call struct {
	number uint64
	reply  chan uint64
}

func act(a *args, calls <-chan call) {
	a.side(0)
	next := uint64(0)
	for c := range calls {
		if c.number != next {
			fail("a request is missing, doubled or out of order")
		}
		next++
		c.reply <- c.number + 1
	}
}

// asker keeps its calls on the way in a ring, the oldest first.
type asker struct {
	calls   chan<- call
	replies []chan uint64
	next    uint64
}

func (s *asker) ask() {
	reply := make(chan uint64, 1)
	s.replies[s.next%uint64(len(s.replies))] = reply
	s.calls <- call{s.next, reply}
	s.next++
}

// await takes the reply of the oldest call.
func (s *asker) await(number uint64) {
	if <-s.replies[number%uint64(len(s.replies))] != number+1 {
		fail("a reply is not that of its request")
	}
}

// run makes count calls. times may be nil, else it gets the time of each, one after the other.
func (s *asker) run(count int, times []uint64) {
	first := s.next
	end := first + uint64(count)
	last := now()
	for s.next != end && s.next-first < uint64(len(s.replies)) {
		s.ask()
	}
	for number := first; number != end; number++ {
		s.await(number)
		if times != nil {
			now := now()
			times[number-first] = now - last
			last = now
		}
		if s.next != end {
			s.ask()
		}
	}
}

func request(a *args) {
	var meter meter
	var times []uint64

	messages := a.numbers["messages"]
	if a.numbers["outstanding"] == 1 {
		times = make([]uint64, messages)
	}
	calls := make(chan call, requestCapacity)
	s := asker{calls: calls, replies: make([]chan uint64, a.numbers["outstanding"])}
	a.side(1)
	go act(a, calls)
	s.run(messages/10+1, nil)
	meter.start()
	s.run(messages, times)
	meter.stop()
	result(messages, &meter, times, "")
}
