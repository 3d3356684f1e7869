# SPDX-License-Identifier: MIT
"""Permits: room that is reserved now and used later, and who ends the senders when senders and permits go in any order. See README.md.

The word is closed, dead, at_tail, reserved, tail: each step on it is one CAS. `strong` counts in twos. Two designs:

  shipped  no count for permits: a bit in strong, PERMITS (1), once anything was reserved. Who makes `reserved` 0, or takes the last sender
           away, looks at the other one of the two, and takes the bit out by a CAS that fails if a sender was revived meanwhile. Who closes
           a sender or gives room back takes a reference first; who sends by a permit takes none: until it has published, the receiver holds
           the channel, or the debt that its close leaves behind; after that the token, if it has it.
  count    the simple alternative: each set of permits counts as a sender, until its last permit is used or given back"""
from explore import State, main, need, swap

EMPTY, PARKED, READY, DEAD = 'empty', 'parked', 'ready', 'dead'
PERMITS = 1


def tokens_in(step):
    """How many tokens somebody has in hand who is at this step, with all that comes after it."""
    n = 0
    while step[0] not in ('next', 'end'):
        n += step[0] == 'post' or step[0] == 'publish' and step[3]
        step = step[1]
    return n


class Permits:
    """actors: what each one does, a string such as 'S2: reserve2 use release1 close'. It starts with what stands before the colon: S, a
    sender; a number, a set of so many permits; W, a weak sender, which goes at the end. What it cannot do, since it has no sender or no
    permits, it leaves out. shutdown, close: the receiver may do that at some time. loop: the receiver has a loop, which a poster touches
    once more after the token is there. stay: one more sender is open and idle."""

    def __init__(self, *actors, count=False, shutdown=False, close=False, loop=False, stay=False, bug=None):
        self.has, self.does = zip(*((a.split(':')[0], a.split(':')[1].split()) for a in actors))
        self.count, self.may_shutdown, self.may_close, self.loop, self.stay = count, shutdown, close, loop, stay
        self.bug = bug

    def start(self):
        senders = tuple(h.count('S') for h in self.has)
        permits = tuple(sum(int(x) for x in h if x.isdigit()) for h in self.has)
        weak = tuple(h.count('W') for h in self.has)
        sets = sum(p > 0 for p in permits)
        strong = 2 * (sum(senders) + self.stay) + (2 * sets if self.count else PERMITS * (sets > 0))
        most = sum(permits) + sum(d.count('send') + sum(int(x[7:]) for x in d if x.startswith('reserve')) for d in self.does)
        return State(closed=0, dead=0, at_tail=0, reserved=sum(permits), tail=0, next=0, strong=strong, revivals=0, debt=0,
                     refs=3 + sum(weak), slots=(EMPTY,) * (most + 1), rx=('run',), token=1, posted=0, gone=0, tokens=1, shut=0, ended=0,
                     eof=0, senders=senders, permits=permits, weak=weak, at=tuple(('next', 0) for _ in self.has), sent=0, dropped=0)

    # What is checked.

    @staticmethod
    def always(s):
        need(s.reserved >= sum(s.permits), 'more permits than are reserved')
        places = s.token + s.posted + s.at_tail + s.slots.count(PARKED) + sum(map(tokens_in, s.at))
        need(places == s.tokens, 'the token is in %d places' % places)

    def at_rest(self, s):
        need(all(at[0] == 'end' for at in s.at), 'an actor is stuck')
        need(s.reserved == 0, 'permits are left')
        if s.rx[0] == 'done':
            need(s.refs == self.stay, 'the channel is leaked')
            need(s.debt == 1, 'the debt is not settled')
            need(s.sent == s.next + s.dropped, 'messages sent and messages that came out differ')
        else:
            need(self.stay and not s.closed, 'nobody is left, and the receiver waits')
        need(s.strong // 2 == self.stay, 'senders are left over in the count')
        need(self.stay or s.strong == 0, 'nobody is left, and the senders have not ended')
        need(s.ended == 1 - self.stay, 'the senders have not ended')

    # Memory.

    @staticmethod
    def core(s):
        need(s.refs > 0, 'touches the channel after it is gone')

    def unref(self, s):
        self.core(s)
        s.refs -= 1

    # The actors. Where one is: ('next', number of what it does), or (step, (what comes after it), ...), which touches the core.

    def goto(self, s, i, step):
        s.at = swap(s.at, i, step)

    def held(self, s, i, senders=0, permits=0):
        s.senders = swap(s.senders, i, s.senders[i] + senders)
        s.permits = swap(s.permits, i, s.permits[i] + permits)

    def actor(self, s, i):
        at = s.at[i]
        if at[0] == 'end':
            return []
        who = 'actor %d' % i
        if at[0] != 'next':
            return [(who, '%s%s' % (at[0], at[2:] or ''), self.go, i, at[0], *at[1:])]
        n = at[1]
        if n == len(self.does[i]):
            return [(who, 'lets go', self.finish, i)]
        do = self.does[i][n]
        kind = do.rstrip('0123456789')
        return [(who, do, self.begin, i, kind, int(do[len(kind):] or 1), ('next', n + 1))]

    def go(self, s, i, step, then, *arguments):
        self.core(s)
        getattr(self, 'do_' + step)(s, i, then, *arguments)

    def begin(self, s, i, kind, n, then):
        can = {'send': s.senders[i], 'reserve': s.senders[i], 'close': s.senders[i], 'use': s.permits[i], 'release': s.permits[i],
               'get': s.permits[i], 'upgrade': s.weak[i]}
        if not can[kind]:
            self.goto(s, i, then)
        elif kind in ('reserve', 'release'):
            self.go(s, i, kind, then, n)
        else:
            self.go(s, i, kind, then)

    def finish(self, s, i):
        need(s.senders[i] == 0 and s.permits[i] == 0, 'a bad configuration: something is kept')
        if s.weak[i]:
            self.unref(s)
        self.goto(s, i, ('end',))

    def do_ref(self, s, i, then):
        s.refs += 1
        self.goto(s, i, then)

    def do_unref(self, s, i, then):
        self.unref(s)
        self.goto(s, i, then)

    # Sending and posting.

    def do_send(self, s, i, then):
        if s.closed:
            self.goto(s, i, then)
        else:
            token = self.claim(s)
            self.goto(s, i, ('publish', then, s.tail - 1, token, 0))

    def claim(self, s):
        token, s.at_tail = s.at_tail, 0
        s.tail += 1
        return token

    def do_publish(self, s, i, then, index, token, unheld):
        old = s.slots[index]
        need(old != READY, 'publishes twice')
        if old == DEAD:
            then = ('settle', then)
        else:
            need(not s.eof, 'a message comes after the end')
            s.slots = swap(s.slots, index, READY)
            s.sent += 1
        if token or old == PARKED:
            then = ('ref', ('post', ('unref', then))) if unheld and self.bug != 'post without a reference' else ('post', then)
        self.goto(s, i, then)

    def do_settle(self, s, i, then):
        s.debt -= 2
        self.goto(s, i, ('unref', then) if s.debt == 1 and self.bug != 'the debt has no reference' else then)

    def do_post(self, s, i, then):
        if s.gone and not self.loop:
            s.tokens = 0
            self.unref(s)
        else:
            need(not s.posted, 'posted twice')
            s.posted = 1
        self.goto(s, i, ('wake', then) if self.loop else then)

    def do_wake(self, s, i, then):
        """The loop: the core holds it."""
        self.goto(s, i, then)

    def do_ask(self, s, i, then):
        """Whether somebody waits."""
        self.goto(s, i, then)

    # Permits.

    def do_reserve(self, s, i, then, n):
        if self.count:
            self.goto(s, i, ('take_room', ('count', then), n))
        elif s.strong & PERMITS:
            self.do_take_room(s, i, then, n)
        else:
            s.strong |= PERMITS
            self.goto(s, i, ('take_room', then, n))

    def do_take_room(self, s, i, then, n):
        if not s.closed:
            s.reserved += n
            self.held(s, i, permits=n)
        elif self.count:
            then = then[1]
        self.goto(s, i, then)

    def do_count(self, s, i, then):
        if self.bug != 'a set is not counted':
            s.strong += 2
        self.goto(s, i, then)

    def do_use(self, s, i, then):
        if s.dead and self.bug != 'a permit claims from a receiver that closed':
            self.give_back(s, i, then, 1)
            return
        token = self.claim(s)
        s.reserved -= 1
        self.held(s, i, permits=-1)
        if self.count or self.bug == 'the end after the publishing':
            self.goto(s, i, ('publish', self.then_end(s, i, then), s.tail - 1, token, 0 if self.count else 1))
        else:
            self.goto(s, i, self.then_end(s, i, ('publish', then, s.tail - 1, token, 1)))

    def do_release(self, s, i, then, n):
        self.give_back(s, i, then, min(n, s.permits[i]))

    def give_back(self, s, i, then, n):
        """The word was read."""
        if self.count or self.bug == 'room is given back without a reference':
            self.goto(s, i, ('free', then, n))
        else:
            self.goto(s, i, ('ref', ('free', ('unref', then), n)))

    def do_free(self, s, i, then, n):
        s.reserved -= n
        self.held(s, i, permits=-n)
        then = ('ask', self.then_end(s, i, then))
        if s.closed and s.reserved == 0 and s.at_tail and self.bug != 'giving back leaves AT_TAIL':
            s.at_tail = 0
            then = ('post', then)
        self.goto(s, i, then)

    def then_end(self, s, i, then):
        """What follows the step that took permits out of the word."""
        if self.count:
            return then if s.permits[i] or self.bug == 'the last permit does not count off' else ('put', then)
        return ('look', then) if s.reserved == 0 else then

    # The end of the senders.

    def do_look(self, s, i, then):
        self.goto(s, i, ('look_again', then, s.revivals) if s.strong == PERMITS else then)

    def do_look_again(self, s, i, then, revivals):
        self.goto(s, i, then if s.reserved else ('take_bit', then, revivals))

    def do_take_bit(self, s, i, then, revivals):
        if s.strong == PERMITS and s.revivals == revivals:
            s.strong = 0
            then = ('over', then)
        self.goto(s, i, then)

    def do_over(self, s, i, then):
        need(not s.ended, 'the senders end twice')
        need(not sum(s.senders) and not self.stay, 'the senders end while one is open')
        need(not sum(s.permits), 'the senders end while a permit is out')
        s.ended = s.closed = 1
        then = ('ask', ('unref', then))
        if s.at_tail and self.bug != 'the end of the senders leaves AT_TAIL':
            s.at_tail = 0
            then = ('post', then)
        self.goto(s, i, then)

    def do_close(self, s, i, then, held=0, reserved=None):
        """A reference first: the last permit may go before the look."""
        if not held and self.bug != 'a sender closes without a reference':
            self.goto(s, i, ('ref', ('close', ('unref', then), 1)))
        elif self.bug == 'a sender reads what is reserved before it counts off' and reserved is None:
            self.goto(s, i, ('close', then, held, s.reserved))
        else:
            self.held(s, i, senders=-1)
            self.do_put(s, i, then, reserved)

    def do_put(self, s, i, then, reserved=None):
        s.strong -= 2
        need(s.strong >= 0, 'counts off twice')
        if s.strong == 0:
            then = ('over', then)
        elif s.strong == PERMITS and self.bug == 'a sender does not look at what is reserved':
            then = ('take_bit', then, s.revivals)
        elif s.strong == PERMITS and not reserved:
            then = ('take_bit', then, s.revivals) if reserved == 0 else ('look', then)
        self.goto(s, i, then)

    def do_upgrade(self, s, i, then):
        if s.strong or self.bug == 'an upgrade ignores 0':
            need(not s.ended, 'an upgrade after the senders have ended')
            self.revive(s, i)
        self.goto(s, i, then)

    def do_get(self, s, i, then):
        need(s.strong, 'no sender from a permit, the senders have ended')
        self.revive(s, i)
        self.goto(s, i, then)

    def revive(self, s, i):
        if s.strong == PERMITS and self.bug != 'no revivals':
            s.revivals += 1
        s.strong += 2
        self.held(s, i, senders=1)

    # The receiver.

    def steps(self, s):
        out = []
        for i in range(len(s.at)):
            out += self.actor(s, i)
        k = s.rx[0]
        if k in ('run', 'parked'):
            if self.may_close:
                out.append(('receiver', 'closes', self.rx_close))
            if self.may_shutdown and not s.shut:
                out.append(('receiver', 'shuts down', self.rx_shutdown))
        if k in ('parked', 'done') and not s.posted:
            return out
        return out + [('receiver', '%s %s' % (k, s.rx[1:] or ''), getattr(self, 'rx_' + k), *s.rx[1:])]

    def rx_run(self, s):
        self.core(s)
        if s.slots[s.next] == READY:
            s.next += 1
        else:
            s.rx = ('word',)

    def rx_word(self, s):
        self.core(s)
        if s.tail != s.next:
            s.rx = ('slot',)
        elif s.closed and (s.reserved == 0 or self.bug == 'the end does not look at what is reserved'):
            need(not sum(s.permits), 'the end comes while a permit is out')
            need(s.shut or not sum(s.senders), 'the end comes while a sender is open')
            s.eof = 1
            s.rx = ('close',)
        else:
            s.at_tail, s.token = 1, 0
            s.rx = ('parked',)

    def rx_slot(self, s):
        self.core(s)
        if s.slots[s.next] == EMPTY:
            s.slots = swap(s.slots, s.next, PARKED)
            s.token = 0
            s.rx = ('parked',)
        else:
            s.rx = ('run',)

    def rx_parked(self, s):
        s.posted, s.token = 0, 1
        s.rx = ('run',)

    def rx_shutdown(self, s):
        self.core(s)
        s.shut = s.closed = 1
        if s.at_tail:
            s.at_tail, s.token = 0, 1
            s.rx = ('run',)

    def rx_close(self, s):
        self.core(s)
        s.closed = s.dead = s.shut = 1
        s.token += s.at_tail
        s.at_tail = 0
        s.rx = ('sweep', s.next, s.tail, 0)

    def rx_sweep(self, s, index, tail, unpublished):
        self.core(s)
        if index == tail:
            if self.bug != 'the debt has no reference':
                s.refs += 1
            s.rx = ('owe', 2 * unpublished + 1)
            return
        old = s.slots[index]
        s.slots = swap(s.slots, index, DEAD)
        s.token += old == PARKED
        s.dropped += old == READY
        s.rx = ('sweep', index + 1, tail, unpublished + (old != READY))

    def rx_owe(self, s, debt):
        self.core(s)
        s.debt = debt if self.bug == 'the debt is stored, not added' else s.debt + debt
        s.rx = ('settle',) if s.debt == 1 and self.bug != 'the debt has no reference' else ('home',)

    def rx_settle(self, s):
        self.unref(s)
        s.rx = ('home',)

    def rx_home(self, s):
        """A loop stays the home: what is posted later has a turn there."""
        self.core(s)
        s.gone = 1
        if not self.loop:
            s.token += s.posted
            s.posted = 0
        s.rx = ('token',) if s.token else ('leave',)

    def rx_token(self, s):
        self.unref(s)
        s.token = s.tokens = 0
        s.rx = ('leave',)

    def rx_leave(self, s):
        self.unref(s)
        s.rx = ('done',)

    def rx_done(self, s):
        """The turn of a token that came late."""
        s.posted = s.tokens = 0
        self.unref(s)


PAIRS = [
    ('close, use', ['S: close', '1: use']),
    ('close, release', ['S: close', '1: release']),
    ('close, use and release', ['S: close', '2: use release']),
    ('close, upgrade, reserve, close, use', ['S: close', 'W: upgrade reserve1 close use']),
    ('release, upgrade, reserve, close, use', ['1: release', 'W: upgrade reserve1 close use']),
    ('use, upgrade, reserve, close, release', ['1: use', 'W: upgrade reserve1 close release']),
    ('reserve and use, close of another', ['S: reserve1 close use', 'S: send close']),
    ('reserve and release, close of another', ['S: reserve2 close release1 release1', 'S: close']),
    ('a sender from a permit, close', ['1: get release close', 'S: close']),
    ('a sender from a permit, use', ['1: get close release', '1: use']),
    ('use, use', ['1: use', '1: use']),
    ('use, release', ['1: use', '1: release']),
]

THREE = [
    ('close, use, release', ['S: close', '1: use', '1: release']),
    ('close, use, use', ['S: close', '1: use', '1: use']),
    ('close, release, upgrade and close', ['S: close', '1: release', 'W: upgrade close']),
    ('release, use, upgrade, reserve, close, release', ['1: release', '1: use', 'W: upgrade reserve1 close release']),
    ('use, use, send', ['1: use', '1: use', 'S: send close']),
    ('a sender from a permit, close, use', ['1: get use send close', 'S: close', '1: use']),
]


def both(names, *more):
    """Each scenario with each set of options, in both designs."""
    for count in False, True:
        for name, actors in names:
            for x in more:
                yield ('count: ' if count else '') + ' + '.join([name, *x]), Permits(*actors, count=count, **x)


def bug(name, *actors, **more):
    return name, Permits(*actors, bug=name, **more)


if __name__ == '__main__':
    main([*both(PAIRS, {}, {'shutdown': True}, {'close': True}, {'close': True, 'loop': True}),
          *both(PAIRS[:3], {'shutdown': True, 'stay': True}),
          *both(THREE, {}),
          *both(THREE[:3], {'close': True})], [
        bug('a sender closes without a reference', 'S: close', '1: release'),
        bug('room is given back without a reference', 'S: close', '1: release'),
        bug('the debt has no reference', '1: use', close=True),
        bug('the debt is stored, not added', '1: use', close=True),
        bug('the end after the publishing', 'S: close', '1: use'),
        bug('post without a reference', '1: use', loop=True),
        bug('a permit claims from a receiver that closed', '1: use', close=True),
        bug('no revivals', '1: release', 'W: upgrade reserve1 close use'),
        bug('a sender does not look at what is reserved', 'S: close', '1: release'),
        bug('a sender reads what is reserved before it counts off', 'S: close', '1: release'),
        bug('giving back leaves AT_TAIL', '1: release', shutdown=True, stay=True),
        bug('the end of the senders leaves AT_TAIL', 'S: close'),
        bug('the end does not look at what is reserved', '1: use', shutdown=True),
        bug('an upgrade ignores 0', 'S: close', 'W: upgrade close'),
        bug('the last permit does not count off', 'S: close', '1: use', count=True),
        bug('a set is not counted', 'S: reserve1 close use', 'S: close', count=True),
    ])
