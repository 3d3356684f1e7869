# SPDX-License-Identifier: MIT
"""Hand: what a port does with its endpoints while callbacks close, stop and start receivers and run the loop inside. See README.md; the
code is in src/port.c and src/receive.c.

A callback of the port is a run; a run gives turns; a turn calls the user. All of them are frames on one stack, since a user's callback may
run the loop. Parking is one step here: test/models/home.py has the rest of it."""
from collections import namedtuple

from explore import State, main, need, swap

ASLEEP, AWAKE, CLOSED = 'asleep', 'awake', 'closed'
FREE = -1     # a slot without a message
REQUEST = -2  # the endpoint of a request that is done

# One channel. tail, head: messages sent, and those whose room is given back; next: messages taken. ring: head and tail never are further
# apart than the capacity, the ring has one slot more. shut: CLOSED. rx: 'stopped', 'started', 'ended' (the end was told), 'closing' or
# 'closed' (the close callback has run). up: calls of the user that have not returned. open: senders.
Channel = namedtuple('Channel', 'tail head next ring parked shut rx has_token up refs tokens open')


class Hand:
    """posters: what each one does, a string such as 's0 s1 c0': send to 0, send to 1, close the sender of 0. capacity: of each channel.
    nest: how often a callback may run the loop. Others: how often the user may do that, anywhere on the loop's thread."""

    def __init__(self, posters, capacity=1, nest=0, closes=0, stops=0, requests=0, stay=False, bug=None):
        self.posters = [[(x[0], int(x[1])) for x in p.split()] for p in posters]
        self.channels = 1 + max(e for p in self.posters for _, e in p)
        self.capacity, self.bug = capacity, bug
        self.limits = nest, closes, stops, requests
        self.senders = [sum(('c', e) in p for p in self.posters) + stay for e in range(self.channels)]

    def start(self):
        nest, closes, stops, requests = self.limits
        ch = tuple(Channel(0, 0, 0, (FREE,) * (self.capacity + 1), 1, 0, 'started', 0, 0, 3, 1, n) for n in self.senders)
        return State(base=ASLEEP, nodes=(), late=0, pending=0, idle=0, state='open', port_refs=1 + self.channels, fifo=(), hand=None,
                     ch=ch, closing=(), live=self.channels, frames=(('loop',),), nest=nest, closes=closes, stops=stops, requests=requests,
                     tx=(('next', 0),) * len(self.posters))

    # What is checked.

    def always(self, s):
        if s.base == AWAKE and s.state == 'open':
            need(s.idle, 'the mark is in the head without the idle handle')
        held = [pc[2] for pc in s.tx if pc[0] in ('push', 'cas')]
        for e, c in enumerate(s.ch):
            places = c.parked + c.has_token + s.nodes.count(e) + s.fifo.count(e) + (s.hand == e) + held.count(e)
            need(places == c.tokens, 'the token of %d is in %d places' % (e, places) if c.tokens else 'a token that was dropped is somewhere')

    def at_rest(self, s):
        need(all(pc[0] == 'end' for pc in s.tx), 'a sender is stuck')
        need(s.frames == (('loop',),), 'the loop is stuck')
        for e, c in enumerate(s.ch):
            if s.state == 'gone':
                need(c.refs == (c.open > 0), 'channel %d is leaked' % e)
            elif c.rx == 'started':
                need(c.next == c.tail and not c.shut, 'the loop sleeps while %d has something' % e)
        if s.state == 'gone':
            need(s.port_refs == sum(c.refs > 0 for c in s.ch), 'the port is leaked')
            need(not s.closing, 'a close callback is missing')
        else:
            need(s.state == 'open' and s.base == ASLEEP and not (s.nodes or s.fifo or s.late or s.idle or s.closing), 'the loop sleeps too early')
            need(s.live > 0, 'the port of no handles stays')

    # Memory.

    def set(self, s, e, **values):
        need(s.ch[e].refs > 0, 'touches channel %d after it is gone' % e)
        s.ch = swap(s.ch, e, s.ch[e]._replace(**values))

    def unref(self, s, e):
        refs = s.ch[e].refs - 1
        need(refs >= 0, 'drops a reference to channel %d twice' % e)
        s.ch = swap(s.ch, e, s.ch[e]._replace(refs=refs))
        if refs == 0:
            self.port_unref(s)

    def port_unref(self, s):
        need(s.port_refs > 0, 'drops a reference to the port twice')
        s.port_refs -= 1

    def port(self, s):
        need(s.port_refs > 0, 'touches the port after it is gone')

    def drop_token(self, s, e):
        if e != REQUEST:
            self.set(s, e, tokens=0, shut=1)
            self.unref(s, e)

    # A poster. Its place is ('next', number of what it does), or (step, that number, channel, ...).

    def poster(self, s, i):
        pc = s.tx[i]
        k, n = pc[:2]
        who = 'poster %d' % i
        if k == 'end':
            return []
        if k != 'next':
            return [(who, '%s %s' % (k, pc[2:]), getattr(self, 'tx_' + k), i, *pc[1:])]
        if n == len(self.posters[i]):
            return [(who, 'is done', self.goto, i, 'end', n)]
        do, e = self.posters[i][n]
        c = s.ch[e]
        if do == 'c':
            return [(who, 'closes its sender of %d' % e, self.tx_close, i, n, e)]
        if c.shut or c.tail - c.head < self.capacity:
            return [(who, 'sends to %d' % e, self.tx_send, i, n, e)]
        return []

    def goto(self, s, i, *pc):
        s.tx = swap(s.tx, i, pc)

    def take_park(self, s, i, n, e):
        if s.ch[e].parked:
            self.set(s, e, parked=0)
            self.goto(s, i, 'push', n, e)
        else:
            self.after(s, i, n, e)

    def after(self, s, i, n, e):
        """The last sender's reference goes when its post is over."""
        self.goto(s, i, 'next', n + 1)
        if self.posters[i][n][0] == 'c' and s.ch[e].open == 0:
            self.unref(s, e)

    def tx_send(self, s, i, n, e):
        c = s.ch[e]
        need(c.refs > 0, 'a sender finds its channel gone')
        if c.shut:
            self.goto(s, i, 'next', n + 1)
            return
        self.set(s, e, tail=c.tail + 1, ring=swap(c.ring, c.tail % len(c.ring), c.tail))
        self.take_park(s, i, n, e)

    def tx_close(self, s, i, n, e):
        self.set(s, e, open=s.ch[e].open - 1)
        if s.ch[e].open > 0:
            self.goto(s, i, 'next', n + 1)
            return
        self.set(s, e, shut=1)
        self.take_park(s, i, n, e)

    def top(self, s):
        return s.nodes[0] if s.nodes else s.base

    def tx_push(self, s, i, n, e):
        self.port(s)
        seen = self.top(s)
        if seen == CLOSED:
            self.drop_token(s, e)
            self.after(s, i, n, e)
            return
        s.late += seen == ASLEEP
        self.goto(s, i, 'cas', n, e, seen)

    def tx_cas(self, s, i, n, e, seen):
        self.port(s)
        if self.top(s) != seen:
            s.late -= seen == ASLEEP
            self.goto(s, i, 'push', n, e)
            return
        s.nodes = (e,) + s.nodes
        if seen == ASLEEP:
            self.goto(s, i, 'signal', n, e)
        else:
            self.after(s, i, n, e)

    def tx_signal(self, s, i, n, e):
        self.port(s)
        need(s.state in ('open', 'ending'), 'signals a handle that is closed')
        s.pending = 1
        s.late -= 1
        self.after(s, i, n, e)

    # The loop.

    def steps(self, s):
        frame = s.frames[-1]
        who = 'loop, depth %d' % sum(f[0] == 'run' for f in s.frames)
        if frame[0] in ('loop', 'call'):
            out = [(who, *x) for x in getattr(self, frame[0])(s, *frame[1:])]
        else:
            out = [(who, what, function, *frame[1:]) for what, function in getattr(self, frame[0])(s, *frame[1:])]
        for i in range(len(s.tx)):
            out += self.poster(s, i)
        return out

    def replace(self, s, *frame):
        s.frames = s.frames[:-1] + (frame,)

    def enter(self, s, *frame):
        s.frames += (frame,)

    def back(self, s):
        s.frames = s.frames[:-1]

    def loop(self, s):
        """uv_run, the outermost or one in a callback."""
        inside = len(s.frames) > 1
        out = []
        if s.state == 'gone':
            return [('returns', self.back)] if inside else []
        if s.state == 'ended':
            return [('the close callbacks of the port', self.ended)] if not inside else [('returns', self.back)]
        if s.pending:
            out.append(('the wake-up', self.callback, 1))
        if s.idle:
            out.append(('the idle handle', self.callback, 0))
        if inside:
            out.append(('returns', self.back))
        else:
            out += self.user(s)
        return out

    def user(self, s):
        """What code of the user may do on the loop's thread."""
        out = []
        if s.state != 'open':
            return out
        for e, c in enumerate(s.ch):
            if c.rx in ('started', 'stopped', 'ended') and s.closes:
                out.append(('the user closes %d' % e, self.close, e))
            if c.rx == 'started' and s.stops:
                out.append(('the user stops %d' % e, self.stop, e))
            if c.rx == 'stopped':
                out.append(('the user starts %d' % e, self.begin, e))
        if s.requests and s.live:
            out.append(('the user makes a request that is done at once', self.request))
        return out

    def callback(self, s, wake):
        if wake:
            s.pending = 0
        self.port(s)
        if s.state != 'open':
            self.try_end(s)
        else:
            self.enter(s, 'run', 'collect' if self.bug == 'mark before the idle handle' else 'idle on')

    # A pass of the port.

    def run(self, s, at):
        if at == 'drain':
            return [('pops', self.run_pop), ('its budget is spent', self.run_over)] if s.fifo else [('has nothing more', self.run_over)]
        if at == 'rest':
            return [('sleeps', self.run_sleep), ('stays hot', self.run_hot)]
        return [(at, getattr(self, 'run_' + at.replace(' ', '_')))]

    def run_idle_on(self, s, at):
        s.idle = 1
        self.replace(s, 'run', 'drain' if self.bug == 'mark before the idle handle' else 'collect')

    def run_collect(self, s, at):
        if s.hand is not None and self.bug != 'a nested run leaves the hand alone':
            s.fifo += (s.hand,)
            s.hand = None
        s.fifo += s.nodes[::-1]
        s.nodes, s.base = (), AWAKE
        self.replace(s, 'run', 'idle on' if self.bug == 'mark before the idle handle' else 'drain')

    def run_pop(self, s, at):
        s.hand, s.fifo = s.fifo[0], s.fifo[1:]
        self.replace(s, 'run', 'turned', s.hand)
        if s.hand == REQUEST:
            s.hand = None
            s.live -= 1
            self.enter(s, 'call', REQUEST, None)
        else:
            self.enter(s, 'turn', s.hand, 'first')

    def run_over(self, s, at):
        if s.live or self.depth(s) > 1:
            self.deliver_closed(s)
        self.back(s)
        if s.live == 0 and self.depth(s) == 0:
            self.end(s)
        elif s.live and (not s.fifo or self.bug == 'sleeps with a full FIFO') and not s.closing:
            self.enter(s, 'run', 'rest')

    def depth(self, s):
        return sum(f[0] == 'run' for f in s.frames)

    def run_hot(self, s, at):
        self.back(s)

    def run_sleep(self, s, at):
        if self.bug == 'idle handle stopped before the mark is out' and s.idle:
            s.idle = 0
            return
        if s.base == AWAKE and not s.nodes or self.bug == 'mark taken out by a store':
            s.base, s.nodes = ASLEEP, ()
        elif self.top(s) != ASLEEP and self.bug != 'idle handle stopped though something came':
            self.back(s)
            return
        self.replace(s, 'run', 'idle off')

    def run_idle_off(self, s, at):
        s.idle = 0
        self.back(s)

    def turned(self, s, e):
        if s.hand == e:
            s.hand = None
            s.fifo += (e,)
        elif self.bug == 'every endpoint goes back to the FIFO' and e != REQUEST:
            s.fifo += (e,)

    # A turn.

    def turn(self, s, e, at):
        c = s.ch[e]
        if at == 'again' and c.next != c.tail:
            return [('message for %d' % e, self.turn_message), ('%d has had its share' % e, self.turn_over)]
        if c.next != c.tail and c.rx == 'started' and at != 'park':
            return [('message for %d' % e, self.turn_message)]
        if at == 'park' or c.rx != 'started':
            return [('%d parks, or is over' % e, self.turn_rest)]
        return [('%d has nothing' % e, self.turn_park)]

    def turn_park(self, s, e, at):
        self.replace(s, 'turn', e, 'park')

    def turn_message(self, s, e, at):
        c = s.ch[e]
        need(c.rx == 'started', 'a message comes to a receiver that does not want it')
        place = c.next % len(c.ring)
        need(c.ring[place] == c.next, 'a message comes twice or is lost')
        self.set(s, e, next=c.next + 1, head=c.head if c.up and self.bug != 'room given during a callback' else c.next + 1, up=c.up + 1)
        self.enter(s, 'call', e, c.next)

    def turn_over(self, s, e, at):
        self.leave_turn(s, e)

    def turn_rest(self, s, e, at):
        c = s.ch[e]
        need(c.refs > 0, 'touches channel %d after it is gone' % e)
        if c.rx in ('closing', 'closed'):
            s.hand = None
            self.drop_token(s, e)
        elif c.rx != 'started':
            s.hand = None
            self.set(s, e, has_token=1)
        elif c.next != c.tail:
            pass
        elif not c.shut:
            self.set(s, e, parked=1)
            s.hand = None
        else:
            self.set(s, e, rx='ended', up=c.up + 1)
            if self.bug != 'the token comes back after the end was told':
                s.hand = None
                self.set(s, e, has_token=1)
            self.replace(s, 'told', e)
            self.enter(s, 'call', e, None)
            return
        self.leave_turn(s, e)

    def leave_turn(self, s, e):
        self.back(s)
        self.replace(s, 'run', 'drain')
        self.turned(s, e)

    # A call of the user.

    def call(self, s, e, item):
        out = [('the callback returns', self.returned, e, item)] + self.user(s)
        if s.nest:
            out.append(('the callback runs the loop', self.nested))
        return out

    def nested(self, s):
        s.nest -= 1
        self.enter(s, 'loop')

    def returned(self, s, e, item):
        self.back(s)
        if e == REQUEST:
            self.replace(s, 'run', 'drain')
            self.turned(s, REQUEST)
            return
        c = s.ch[e]
        need(c.refs > 0, 'a callback returns to a channel that is gone')
        self.set(s, e, up=c.up - 1)
        c = s.ch[e]
        if item is not None:
            place = item % len(c.ring)
            need(c.ring[place] == item, 'the message is overwritten during its callback')
            self.set(s, e, ring=swap(c.ring, place, FREE))
        if c.rx in ('closing', 'closed'):
            if c.up == 0 and self.bug != 'close lets go during a callback':
                self.unref(s, e)
            self.leave_turn(s, e)
            return
        if c.up == 0 and self.bug != 'room not given after a nested run':
            self.set(s, e, head=c.next)
        if item is None:
            if self.bug == 'the token comes back after the end was told':
                s.hand = None
                self.set(s, e, has_token=1)
            self.leave_turn(s, e)
        elif s.hand != e and self.bug != 'the outer turn goes on':
            self.leave_turn(s, e)
        elif c.rx != 'started' and self.bug != 'no look whether it was stopped':
            self.replace(s, 'turn', e, 'last')
        else:
            self.replace(s, 'turn', e, 'again')

    # What the user may do.

    def append(self, s, e):
        s.fifo += (e,)
        if self.bug != 'append leaves the idle handle alone':
            s.idle = 1

    def begin(self, s, e):
        c = s.ch[e]
        self.set(s, e, rx='started')
        if not c.has_token:
            return
        if c.next == c.tail and not c.shut:
            self.set(s, e, has_token=0, parked=1)
        else:
            self.set(s, e, has_token=0 if self.bug != 'start keeps the token' else 1)
            self.append(s, e)

    def stop(self, s, e):
        s.stops -= 1
        self.set(s, e, rx='stopped')

    def request(self, s):
        s.requests -= 1
        s.live += 1
        self.append(s, REQUEST)

    def close(self, s, e):
        c = s.ch[e]
        s.closes -= 1
        s.live -= 1
        token = c.has_token + c.parked
        self.set(s, e, rx='closing', shut=1, has_token=0, parked=0, head=c.tail)
        if s.hand == e:
            token = 1
            if self.bug != 'close drops the token and leaves it in the hand':
                s.hand = None
        elif self.bug == 'close drops the token wherever it is' and s.ch[e].tokens:
            token = 1
        if token:
            self.drop_token(s, e)
        if c.up == 0 or self.bug == 'close lets go during a callback':
            self.unref(s, e)
        s.closing += (e,)
        s.idle = 1

    # The end.

    def deliver_closed(self, s):
        for e in s.closing:
            s.ch = swap(s.ch, e, s.ch[e]._replace(rx='closed'))
        s.closing = ()

    def end(self, s):
        s.state = 'ending'
        dropped = s.nodes + s.fifo + (() if s.hand is None else (s.hand,))
        if self.bug == 'the FIFO is left at the end':
            dropped = s.nodes
        s.base, s.nodes, s.fifo, s.hand = CLOSED, (), (), None
        for e in dropped:
            self.drop_token(s, e)
        self.try_end(s)

    def try_end(self, s):
        if s.late == 0 or self.bug == 'late posters are not waited for':
            s.state, s.idle, s.pending = 'ended', 0, 0

    def ended(self, s):
        self.deliver_closed(s)
        self.port_unref(s)
        s.state = 'gone'


def bug(name, *posters, **more):
    return name, Hand(posters, bug=name, **more)


if __name__ == '__main__':
    main([
        ('1 poster, 2 messages', Hand(['s0 s0 c0'])),
        ('1 poster, room for 1, 2 nested runs', Hand(['s0 s0 s0 c0'], nest=2)),
        ('1 poster, room for 3, 2 nested runs', Hand(['s0 s0 s0 s0'], capacity=3, nest=2, stay=True)),
        ('2 posters, 1 channel, 2 nested runs', Hand(['s0 s0 c0', 's0 c0'], capacity=3, nest=2)),
        ('2 posters, 2 channels, nested run', Hand(['s0 s1', 's1 s0'], capacity=3, nest=1, stay=True)),
        ('3 posters, 2 channels', Hand(['s0', 's1 c1', 's0 c0'])),
        ('1 poster, 2 channels, 2 nested runs', Hand(['s0 s1 s0 c0 c1'], capacity=3, nest=2)),
        ('1 poster, 3 messages, close, 2 nested runs', Hand(['s0 s0 s0 c0'], nest=2, closes=1)),
        ('1 poster, 2 channels, close, 2 nested runs', Hand(['s0 s1 c0 c1'], nest=2, closes=2)),
        ('2 posters, 1 channel, close, nested run', Hand(['s0 c0', 's0 c0'], capacity=3, nest=1, closes=1)),
        ('2 posters, 2 channels, close', Hand(['s0 s1', 's1'], closes=2, stay=True)),
        ('1 poster, stops, 2 nested runs', Hand(['s0 s0 c0'], capacity=3, nest=2, stops=2)),
        ('1 poster, stops, close, nested run', Hand(['s0 s0 c0'], nest=1, stops=2, closes=1)),
        ('1 poster, 2 requests, close, nested run', Hand(['s0 c0'], nest=1, requests=2, closes=1)),
    ], [
        bug('a nested run leaves the hand alone', 's0 s0', capacity=3, nest=1, stay=True),
        bug('the outer turn goes on', 's0 s0', capacity=3, nest=1, stay=True),
        bug('every endpoint goes back to the FIFO', 's0', stay=True),
        bug('sleeps with a full FIFO', 's0', stay=True),
        bug('mark before the idle handle', 's0', stay=True),
        bug('idle handle stopped before the mark is out', 's0', stay=True),
        bug('idle handle stopped though something came', 's0 s0', stay=True),
        bug('mark taken out by a store', 's0 s0', stay=True),
        bug('append leaves the idle handle alone', 's0', stops=1, stay=True),
        bug('start keeps the token', 's0', stops=1, stay=True),
        bug('no look whether it was stopped', 's0 s0', capacity=3, stops=1, stay=True),
        bug('room given during a callback', 's0 s0 s0', nest=1, stay=True),
        bug('room not given after a nested run', 's0 s0 s0', capacity=1, nest=1, stay=True),
        bug('the token comes back after the end was told', 'c0', nest=1),
        bug('close drops the token and leaves it in the hand', 's0', closes=1, stay=True),
        bug('close drops the token wherever it is', 's0', closes=1, stay=True),
        bug('close lets go during a callback', 's0 c0', closes=1, nest=1),
        bug('the FIFO is left at the end', 's0', closes=1, stay=True),
        bug('late posters are not waited for', 's0', closes=1, stay=True),
    ])
