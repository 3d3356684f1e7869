# SPDX-License-Identifier: MIT
"""Home: where the token of a receiver is posted. Receivers without a loop that wait, wait with a time limit, are attached to a loop later,
or close. See README.md; the code is in src/home.c, src/parker.c and src/receive.c.

Senders follow src/send.c: claim, link (unbounded channels), publish, and post if they hold the token. The port is a bare one: a place for
the token that its loop looks at, which ends when the receiver has closed; test/models/hand.py has the rest of it."""
from explore import State, main, need, swap

# A slot: UNLINKED (its block is missing), UNLINKED_PARKED, EMPTY, PARKED, DEAD; or a message, which is a number.
UNLINKED, UNLINKED_PARKED, EMPTY, PARKED, DEAD = 'unlinked', 'unlinked, parked', 'empty', 'parked', 'dead'
# Home: NONE, POSTED, GONE, PORT, or a parker, which is a number.
NONE, POSTED, GONE, PORT = 'none', 'posted', 'gone', 'port'
# A parker is (state, references, signalled).
FREE = ('free', 0, 0)


class Home:
    """sends: how many messages each sender has; timeouts: how many waits may have a limit; link: blocks are to be linked; stay: one more
    sender is open and idle; attach, close, shutdown: the receiver may do that at some time."""

    def __init__(self, sends, timeouts=0, link=False, stay=False, attach=False, close=False, shutdown=False, bug=None):
        self.sends, self.timeouts, self.link, self.stay, self.bug = sends, timeouts, link, stay, bug
        self.may_attach, self.may_close, self.may_shutdown = attach, close, shutdown
        self.first = [sum(sends[:i]) for i in range(len(sends))]

    def start(self):
        total = sum(self.sends)
        return State(tail=0, at_tail=0, closed=0, slots=(UNLINKED if self.link else EMPTY,) * (total + 1), open=len(self.sends) + self.stay,
                     refs=3, tokens=1, home=NONE, has_token=1, taken=0, rx=('idle',), shut=0, timeouts=self.timeouts, eof=0,
                     parkers=(FREE,) * (len(self.sends) + 1), in_port=0, hand=0, port_closed=0, port_refs=1,
                     sent=(0,) * total, got=(0,) * total, tx=(('send', 0),) * len(self.sends))

    # What is checked.

    @staticmethod
    def always(s):
        places = s.at_tail + (s.home == POSTED) + s.has_token + s.in_port + s.hand
        places += sum(x in (PARKED, UNLINKED_PARKED) for x in s.slots)
        places += sum(pc[0] in ('load', 'early', 'cas', 'push', 'drop') or pc[0] in ('link', 'publish') and pc[3] for pc in s.tx)
        places += s.rx[0] in ('sweep', 'leave', 'let go') and s.rx[-1]
        need(places == s.tokens, 'the token is in %d places' % places if s.tokens else 'a token that was dropped is still somewhere')

    def at_rest(self, s):
        need(all(pc[0] == 'end' for pc in s.tx), 'a sender is stuck')
        if s.rx[0] == 'done':
            need(s.refs == self.stay, 'the channel is leaked' if s.refs else 'the channel is gone while a sender is open')
            need(self.stay or s.port_refs == 0, 'the port is leaked')
            need(all(p[1] == 0 for p in s.parkers), 'a parker is leaked')
            need(s.sent == s.got, 'messages taken and messages that came out differ')
        else:
            need(self.stay and not s.closed and s.taken == s.tail, 'a receiver waits while something is there')
            need(s.rx[0] in ('asleep', 'loop'), 'the receiver is stuck')

    # Memory.

    @staticmethod
    def core(s):
        need(s.refs > 0, 'touches the channel after it is gone')

    @staticmethod
    def unref(s):
        need(s.refs > 0, 'drops a reference to the channel twice')
        s.refs -= 1
        if s.refs == 0:
            need(all(p[1] == 0 for p in s.parkers), 'the channel goes while a parker is in use')
            if s.home == PORT:
                need(s.port_refs > 0, 'drops a reference to the port twice')
                s.port_refs -= 1

    def drop_token(self, s):
        s.tokens = 0
        self.unref(s)

    def parker(self, s, p):
        self.core(s)
        need(s.parkers[p][1] > 0, 'touches a parker that is not its own any more')
        return s.parkers[p]

    def parker_unref(self, s, p):
        state, refs, signalled = self.parker(s, p)
        s.parkers = swap(s.parkers, p, (state, refs - 1, signalled) if refs > 1 else FREE)

    # A sender. Its place is (step, message number, ...).

    def sender(self, s, i):
        pc = s.tx[i]
        what = {'send': 'claims', 'link': 'links', 'publish': 'publishes', 'load': 'looks where to post', 'early': 'wakes',
                'cas': 'posts', 'wake': 'wakes', 'signal': 'signals', 'unpark': 'lets the parker go', 'push': 'pushes',
                'drop': 'drops the token', 'close': 'closes', 'unref': 'drops the reference of the senders'}
        return [] if pc[0] == 'end' else [('sender %d' % i, what[pc[0]] + ' %s' % (pc[2:],), getattr(self, 'tx_' + pc[0]), i, *pc[1:])]

    def goto(self, s, i, *pc):
        s.tx = swap(s.tx, i, pc)

    def message_done(self, s, i, n):
        self.goto(s, i, 'send', n + 1)

    def tx_send(self, s, i, n):
        self.core(s)
        if n == self.sends[i]:
            self.goto(s, i, 'close', n)
        elif s.closed:
            self.message_done(s, i, n)
        else:
            self.goto(s, i, 'link' if self.link else 'publish', n, s.tail, s.at_tail)
            s.tail += 1
            s.at_tail = 0

    def tx_link(self, s, i, n, at, token):
        self.core(s)
        old = s.slots[at]
        if old in (UNLINKED, UNLINKED_PARKED):
            s.slots = swap(s.slots, at, EMPTY)
        if old == UNLINKED_PARKED:
            self.goto(s, i, 'load', n, ('publish', n, at, 0))
        else:
            self.goto(s, i, 'publish', n, at, token)

    def tx_publish(self, s, i, n, at, token):
        self.core(s)
        old = s.slots[at]
        token = token or old == PARKED
        if old != DEAD:
            message = self.first[i] + n
            need(not s.eof, 'a message comes after the end')
            s.slots = swap(s.slots, at, message)
            s.sent = swap(s.sent, message, 1)
        then = ('send', n + 1)
        if token:
            self.goto(s, i, 'load', n, then)
        else:
            self.goto(s, i, *then)

    def tx_load(self, s, i, n, then):
        self.core(s)
        if s.home == PORT:
            self.goto(s, i, 'push', n, then)
        elif s.home == GONE:
            self.goto(s, i, 'drop', n, then)
        elif self.bug == 'wake before posting' and s.home != NONE:
            self.goto(s, i, 'early', n, then, s.home)
        else:
            self.goto(s, i, 'cas', n, then, s.home)

    def tx_early(self, s, i, n, then, p):
        state, refs, signalled = self.parker(s, p)
        s.parkers = swap(s.parkers, p, ('woken', refs, 1))
        self.goto(s, i, 'cas', n, then, p)

    def tx_cas(self, s, i, n, then, seen):
        self.core(s)
        if s.home != seen and self.bug != 'post by a store':
            self.goto(s, i, 'load', n, then)
            return
        s.home = POSTED
        if isinstance(seen, int):
            self.goto(s, i, 'wake', n, then, seen)
        else:
            self.goto(s, i, *then)

    def tx_wake(self, s, i, n, then, p):
        state, refs, signalled = self.parker(s, p)
        s.parkers = swap(s.parkers, p, ('woken', refs, signalled))
        signals = state == 'sleeping' and self.bug != 'no signal'
        self.goto(s, i, 'signal' if signals else 'unpark', n, then, p)

    def tx_signal(self, s, i, n, then, p):
        state, refs, signalled = self.parker(s, p)
        s.parkers = swap(s.parkers, p, (state, refs, 1))
        self.goto(s, i, 'unpark', n, then, p)

    def tx_unpark(self, s, i, n, then, p):
        self.parker_unref(s, p)
        self.goto(s, i, *then)

    def tx_push(self, s, i, n, then):
        self.core(s)
        need(s.port_refs > 0, 'touches the port after it is gone')
        if s.port_closed:
            self.goto(s, i, 'drop', n, then)
        else:
            s.in_port += 1
            self.goto(s, i, *then)

    def tx_drop(self, s, i, n, then):
        self.core(s)
        s.closed = 1
        s.at_tail = 0
        if self.bug == 'token left at GONE':
            s.tokens = 0
        else:
            self.drop_token(s)
        self.goto(s, i, *then)

    def tx_close(self, s, i, n):
        self.core(s)
        s.open -= 1
        then = ('unref', n)
        if s.open > 0:
            then = ('end',)
        else:
            token, s.at_tail, s.closed = s.at_tail, 0, 1
            if self.bug == 'last sender lets go before it posts':
                self.unref(s)
                then = ('end',)
            if token:
                then = ('load', n, then)
        self.goto(s, i, *then)

    def tx_unref(self, s, i, n):
        self.unref(s)
        self.goto(s, i, 'end')

    # The receiver: calls of a plain thread.

    def receiver(self, s):
        k = s.rx[0]
        if k == 'idle' or k == 'loop':
            out = []
            if k == 'loop' and s.in_port:
                out.append(('loop', 'takes the token', self.rx_turn))
            if k == 'idle':
                out.append(('receiver', 'recv_wait', self.rx_begin, 'wait'))
                if s.timeouts:
                    out.append(('receiver', 'recv_timedwait', self.rx_begin, 'timed'))
                if self.may_attach:
                    out.append(('receiver', 'is attached', self.rx_attach))
            if self.may_close:
                out.append(('receiver', 'closes', self.rx_close))
            if self.may_shutdown and not s.shut:
                out.append(('receiver', 'shuts down', self.rx_shutdown))
            return out
        if k == 'done':
            return []
        if k == 'asleep':
            return self.asleep(s, *s.rx[1:])
        return [('receiver', '%s %s' % (k, s.rx[1:]), getattr(self, 'rx_' + k.replace(' ', '_')), *s.rx[1:])]

    def rx_begin(self, s, kind):
        s.timeouts -= kind == 'timed'
        s.rx = ('take', kind, 0)

    def rx_shutdown(self, s):
        s.shut = s.closed = 1
        s.has_token += s.at_tail
        s.at_tail = 0
        if s.rx[0] == 'loop' and s.has_token:
            s.rx = ('park', 'start')

    def ready(self, s):
        return isinstance(s.slots[s.taken], int)

    def take_one(self, s):
        message = s.slots[s.taken]
        need(not s.got[message], 'a message comes twice')
        s.got = swap(s.got, message, 1)
        s.slots = swap(s.slots, s.taken, EMPTY)
        s.taken += 1

    # late: the time is over, this is the last look
    def rx_take(self, s, kind, late):
        self.core(s)
        if self.ready(s):
            self.take_one(s)
            s.rx = ('idle',)
        else:
            s.rx = ('word', kind, late)

    def rx_word(self, s, kind, late):
        if s.closed and (s.taken == s.tail or self.bug == 'EOF without a look at the tail'):
            self.end(s)
        elif late:
            s.rx = ('idle',)
        else:
            s.rx = ('get', kind)

    def end(self, s):
        need(s.sent == s.got, 'the end comes before a message')
        s.eof = 1
        s.rx = ('close',)

    def rx_get(self, s, kind):
        p = next((i for i, x in enumerate(s.parkers) if x[1] == 0), None)
        need(p is not None, 'more parkers are in use than there are threads')
        s.parkers = swap(s.parkers, p, ('empty', 1 if self.bug == 'a parker with one reference' else 2, 0))
        s.rx = ('arm', kind, p)

    def move(self, s, to):
        """The exchange of home; 1: a post had come."""
        old, s.home = s.home, to
        return old == POSTED

    def rx_arm(self, s, kind, p):
        posted = self.move(s, p)
        if self.bug != 'arm without a look':
            s.has_token += posted
        s.rx = ('park', kind, p) if s.has_token else ('poll', kind, p)

    # Parking: look at the word, at the slot, then park in one of them. `why` is 'wait', 'timed', 'start' or 'turn'.

    def rx_park(self, s, *why):
        s.rx = ('front', s.tail, s.closed, *why)

    def rx_front(self, s, tail, closed, *why):
        if self.ready(s):
            self.parked(s, 'ready', *why)
        elif tail != s.taken:
            s.rx = ('slot', *why)
        elif closed:
            self.parked(s, 'end', *why)
        else:
            s.rx = ('tail', tail, closed, *why)

    def leave_token(self, s, why):
        if why == 'turn':
            s.hand = 0
        else:
            s.has_token = 0

    def rx_slot(self, s, *why):
        old = s.slots[s.taken]
        if old in (EMPTY, UNLINKED):
            self.leave_token(s, why[0])
            s.slots = swap(s.slots, s.taken, PARKED if old == EMPTY else UNLINKED_PARKED)
            self.parked(s, 'parked', *why)
        else:
            s.rx = ('park', *why)

    def rx_tail(self, s, tail, closed, *why):
        if s.tail == tail and s.closed == closed or self.bug == 'park at the tail by a store':
            self.leave_token(s, why[0])
            s.at_tail = 1
            self.parked(s, 'parked', *why)
        else:
            s.rx = ('park', *why)

    def parked(self, s, result, *why):
        if why[0] == 'start':
            if result != 'parked':
                s.has_token = 0
                s.in_port = 1
            s.rx = ('loop',)
        elif why[0] == 'turn':
            if result == 'ready':
                s.rx = ('turn',)
            elif result == 'parked':
                s.rx = ('loop',)
            else:
                s.hand, s.has_token = 0, 1
                self.end(s)
        elif result == 'parked' or self.bug == 'waits with the token':
            s.rx = ('poll', *why)
        else:
            s.rx = ('disarm', why[0], why[1], 0)

    # Waiting.

    def rx_poll(self, s, kind, p):
        state, refs, signalled = self.parker(s, p)
        if state == 'woken':
            s.rx = ('disarm', kind, p, 0)
        else:
            s.parkers = swap(s.parkers, p, ('sleeping', refs, signalled))
            s.rx = ('asleep', kind, p)

    def asleep(self, s, kind, p):
        out = []
        if s.parkers[p][0] == 'woken' and s.parkers[p][2]:
            out.append(('receiver', 'wakes', self.rx_wakes, kind, p))
        elif kind == 'timed':
            out.append(('receiver', 'its time is over', self.rx_wakes, kind, p))
        return out

    def rx_wakes(self, s, kind, p):
        state, refs, signalled = self.parker(s, p)
        if state == 'woken':
            s.rx = ('disarm', kind, p, 0)
        else:
            s.parkers = swap(s.parkers, p, ('empty', refs, signalled))
            s.rx = ('back', kind, p)

    # Taking the park back: from the word, else from the slot.

    def rx_back(self, s, kind, p):
        s.rx = ('disarm', kind, p, 1)
        if self.bug == 'time over: the token is taken for granted':
            s.has_token = 1
        elif s.at_tail:
            s.at_tail, s.has_token = 0, 1
        elif s.tail != s.taken:
            s.rx = ('back slot', kind, p)

    def rx_back_slot(self, s, kind, p):
        old = s.slots[s.taken]
        if old in (PARKED, UNLINKED_PARKED):
            s.has_token = 1
            s.slots = swap(s.slots, s.taken, EMPTY if old == PARKED else UNLINKED)
        elif self.bug == 'time over: unpark by a store' and old != UNLINKED:
            s.slots = swap(s.slots, s.taken, EMPTY)
        s.rx = ('disarm', kind, p, 1)

    def rx_disarm(self, s, kind, p, late):
        posted = 0
        if not (self.bug == 'time over: stays armed' and late):
            posted = self.move(s, NONE)
        if self.bug == 'disarm without a look':
            posted = 0
        s.has_token += posted
        if not posted or self.bug == 'disarm lets go of both references':
            if self.bug != 'disarm keeps the reference':
                s.rx = ('let both go', kind, p, late)
                return
        s.rx = ('let one go', kind, p, late)

    def rx_let_both_go(self, s, kind, p, late):
        self.parker_unref(s, p)
        s.rx = ('let one go', kind, p, late)

    def rx_let_one_go(self, s, kind, p, late):
        if self.bug != 'a parker with one reference' or s.parkers[p][1]:
            self.parker_unref(s, p)
        s.rx = ('take', kind, late)

    # On a loop.

    def rx_attach(self, s):
        s.port_refs += self.bug != 'attach without a reference'
        posted = self.move(s, PORT)
        if self.bug != 'attach without a look':
            s.has_token += posted
        s.rx = ('park', 'start') if s.has_token else ('loop',)

    def rx_turn(self, s):
        self.core(s)
        if s.in_port:
            s.in_port -= 1
            s.hand = 1
        if self.ready(s):
            self.take_one(s)
            s.rx = ('turn',)
        else:
            s.rx = ('park', 'turn')

    # Closing, on a loop or without.

    def rx_close(self, s):
        self.core(s)
        token = s.has_token + s.at_tail
        s.closed, s.at_tail, s.has_token = 1, 0, 0
        s.rx = ('sweep', s.taken, s.tail, token)

    def rx_sweep(self, s, i, tail, token):
        if i == tail:
            s.rx = ('leave', token)
            return
        old = s.slots[i]
        if isinstance(old, int):
            need(not s.got[old], 'a message comes twice')
            s.got = swap(s.got, old, 1)
        token += old in (PARKED, UNLINKED_PARKED)
        s.slots = swap(s.slots, i, DEAD)
        s.rx = ('sweep', i + 1, tail, token)

    def rx_leave(self, s, token):
        if s.home != PORT:
            posted = self.move(s, GONE)
            if self.bug != 'close without a look':
                token += posted
        s.rx = ('let go', token)

    def rx_let_go(self, s, token):
        if token:
            self.drop_token(s)
        s.rx = ('let the channel go',)

    def rx_let_the_channel_go(self, s):
        self.unref(s)
        s.rx = ('end of the port',)

    def rx_end_of_the_port(self, s):
        s.port_closed = 1
        if s.in_port:
            s.in_port = 0
            self.drop_token(s)
        s.rx = ('end of the loop',)

    def rx_end_of_the_loop(self, s):
        need(s.port_refs > 0, 'drops a reference to the port twice')
        s.port_refs -= 1
        s.rx = ('done',)

    def steps(self, s):
        out = self.receiver(s)
        for i in range(len(s.tx)):
            out += self.sender(s, i)
        return out


def bug(name, *sends, **more):
    return name, Home(sends, bug=name, **more)


if __name__ == '__main__':
    everything = dict(attach=True, close=True, shutdown=True)
    main([
        ('1 message, waits', Home((1,))),
        ('2 messages of 1 sender, limits', Home((2,), timeouts=2)),
        ('2 messages of 1 sender, limits, attach, close', Home((2,), timeouts=1, attach=True, close=True)),
        ('2 senders, limits', Home((1, 1), timeouts=2)),
        ('2 senders, limit, close', Home((1, 1), timeouts=1, close=True)),
        ('2 senders, limit, attach', Home((1, 1), timeouts=1, attach=True)),
        ('2 senders, limit, a third one stays', Home((1, 1), timeouts=1, stay=True)),
        ('1 sender and one that stays, all calls', Home((1,), timeouts=2, stay=True, **everything)),
        ('1 sender, all calls', Home((2,), timeouts=1, **everything)),
        ('1 sender, blocks to link, all calls', Home((1,), timeouts=2, link=True, **everything)),
        ('2 senders, blocks to link, limit', Home((1, 1), timeouts=1, link=True)),
        ('2 senders, 3 messages, waits', Home((2, 1))),
    ], [
        bug('post by a store', 1, timeouts=1),
        bug('wake before posting', 1, timeouts=1),
        bug('no signal', 1),
        bug('a parker with one reference', 1),
        bug('arm without a look', 1, 1, timeouts=1),
        bug('waits with the token', 1),
        bug('park at the tail by a store', 1),
        bug('disarm without a look', 1),
        bug('disarm lets go of both references', 1),
        bug('disarm keeps the reference', 1, timeouts=1),
        bug('time over: stays armed', 1, timeouts=1),
        bug('time over: the token is taken for granted', 1, timeouts=1),
        bug('time over: unpark by a store', 1, timeouts=1),
        bug('EOF without a look at the tail', 1, timeouts=1, shutdown=True),
        bug('attach without a look', 1, timeouts=1, attach=True),
        bug('attach without a reference', 1, attach=True),
        bug('close without a look', 1, timeouts=1, close=True),
        bug('token left at GONE', 1, timeouts=1, close=True),
        bug('last sender lets go before it posts', 1, close=True, timeouts=1),
    ])
