# SPDX-License-Identifier: MIT
"""Batches: messages that one claim takes together and one exchange publishes. See README.md.

A batch puts FOLLOW into its slots from the second on, by plain stores, then READY into the first by an exchange. The receiver takes both
alike. When it closes it puts DEAD into all slots in order: a FOLLOW is dropped if the slot before it was, and else belongs to a batch that
was not published, and stays with its sender.

Storage is a ring (room is unlimited, since sends wait elsewhere), or blocks of a few slots, linked by who needs them."""
from explore import State, main, need, swap

EMPTY, PARKED, DEAD = 'empty', 'parked', 'dead'
MISSING, LINKED, KILLED = 'missing', 'linked', 'killed'


def kind(x):
    return x[0] if isinstance(x, tuple) else x


class Batch:
    """sends: what each sender puts in, such as (2, 1): a batch of two, then one. block: slots of one block; 0: a ring of `ring` slots.
    close: the receiver may close at some time. stay: one more sender is open and idle."""

    def __init__(self, *sends, block=0, ring=0, close=False, stay=False, bug=None):
        self.sends, self.block, self.may_close, self.stay, self.bug = sends, block, close, stay, bug
        self.total = sum(map(sum, sends))
        self.ring = ring or self.total + 1

    def start(self):
        slots = self.ring
        blocks = 0
        if self.block:
            blocks = -(-(self.total + 1) // self.block)
            slots = blocks * self.block
        # next: of each block, and of the empty one before the first
        return State(tail=0, at_tail=0, closed=0, head=0, taken=0, slots=(EMPTY,) * slots,
                     next=(MISSING,) * (blocks + 1), open=len(self.sends) + self.stay, rx=('run',), token=1, posted=0, gone=0, debt=0, swept=0, freed=0, tokens=1,
                     owner=(None,) * self.total, said=(None,) * self.total, out=(None,) * self.total, tx=(('next', 0),) * len(self.sends))

    # What is checked.

    @staticmethod
    def always(s):
        places = s.token + s.posted + s.at_tail + s.slots.count(PARKED) + s.next.count(PARKED)
        places += sum(pc[-1] for pc in s.tx if pc[0] in ('walk', 'copy', 'publish', 'late'))
        places += sum(pc[0] == 'post' for pc in s.tx)
        need(places == s.tokens, 'the token is in %d places' % places)

    def at_rest(self, s):
        need(all(pc[0] == 'end' for pc in s.tx), 'a sender is stuck')
        if s.rx[0] == 'parked':
            need(self.stay and not s.closed and s.taken == s.tail, 'the receiver waits though something is there')
        else:
            need(s.rx[0] in ('eof', 'done'), 'the receiver is stuck')
        for i in range(s.tail):
            need(s.said[i] == 'ok' and s.out[i] in ('taken', 'dropped') or s.said[i] == 'EPIPE' and s.out[i] is None,
                 'message %d: answered %s, %s' % (i, s.said[i], s.out[i]))
        need(s.rx[0] != 'done' or s.tokens == 0, 'the token is leaked')
        if s.rx[0] == 'done' and self.block:
            need(s.debt == 0, 'the debt is %d' % s.debt)
            need(s.freed, 'the blocks are leaked')

    def place(self, at):
        return at % self.ring if not self.block else at

    def read(self, s, at):
        need(not s.freed, 'touches a slot after it is freed')
        return s.slots[self.place(at)]

    def write(self, s, at, value):
        need(not s.freed, 'touches a slot after it is freed')
        s.slots = swap(s.slots, self.place(at), value)

    def settle(self, s, n):
        """Who makes the debt even once the sweep is over frees the blocks."""
        if self.block:
            s.debt += n
            if s.swept and s.debt == 0:
                need(not s.freed, 'the blocks are freed twice')
                s.freed = 1

    # A sender. Its place is (step, number of the send, first index, ..., has the token).

    def steps(self, s):
        out = []
        for i, pc in enumerate(s.tx):
            if pc[0] == 'end':
                continue
            out.append(('sender %d' % i, '%s %s' % (pc[0], pc[2:]), getattr(self, 'tx_' + pc[0]), i, *pc[1:]))
        k = s.rx[0]
        if self.may_close and k in ('run', 'parked'):
            out.append(('receiver', 'closes', self.rx_close))
        if k in ('eof', 'done') or k == 'parked' and not s.posted:
            return out
        return out + [('receiver', '%s %s' % (k, s.rx[1:]), getattr(self, 'rx_' + k), *s.rx[1:])]

    def goto(self, s, i, *pc):
        s.tx = swap(s.tx, i, pc)

    def tx_next(self, s, i, n):
        if n == len(self.sends[i]):
            s.open -= 1
            if s.open == 0:
                token, s.at_tail, s.closed = s.at_tail, 0, 1
                self.goto(s, i, *('post', ('end',)) if token else ('end',))
            else:
                self.goto(s, i, 'end')
            return
        if s.closed:
            self.goto(s, i, 'next', n + 1)
            return
        k = self.sends[i][n]
        if not self.block and s.tail + k - s.head > self.ring - 1:
            self.goto(s, i, 'next', n + 1)
            return
        first = s.tail
        s.tail += k
        token, s.at_tail = s.at_tail, 0
        self.goto(s, i, 'walk', n, first, first, token) if self.block else self.goto(s, i, 'copy', n, first, first + 1, token)

    def finish(self, s, i, n, first, answer, token):
        for x in range(first, first + self.sends[i][n]):
            need(s.said[x] is None, 'answered twice')
            s.said = swap(s.said, x, answer)
        self.goto(s, i, *('post', ('next', n + 1)) if token else ('next', n + 1))

    def epipe(self, s, i, n, first, token):
        self.finish(s, i, n, first, 'EPIPE', token)
        self.settle(s, -1 if self.bug == 'a batch counts off one' else -self.sends[i][n])

    def tx_walk(self, s, i, n, first, at, token):
        """From the beginning of the list to the blocks of all of the batch: one link each time."""
        need(not s.freed, 'touches a block after it is freed')
        upto = at // self.block
        for b in range(upto + 1):
            if s.next[b] == LINKED:
                continue
            if s.next[b] == KILLED:
                self.epipe(s, i, n, first, token)
            else:
                was = s.next[b]
                s.next = swap(s.next, b, LINKED)
                if was == PARKED:
                    self.goto(s, i, 'post', ('walk', n, first, at, token))
            return
        last = first + self.sends[i][n] - 1
        if at < last:
            self.goto(s, i, 'walk', n, first, last, token)
        else:
            self.goto(s, i, 'copy', n, first, first + 1, token)

    def tx_copy(self, s, i, n, first, at, token):
        """FOLLOW into one slot after the other."""
        if at == first + self.sends[i][n] or self.bug == 'the first is published first' and at == first + 1:
            self.goto(s, i, 'publish', n, first, token)
            return
        self.follow(s, first, at)
        self.goto(s, i, 'copy', n, first, at + 1, token)

    def follow(self, s, first, at):
        old = self.read(s, at)
        need(old in (EMPTY, DEAD), 'a plain store over %s' % (old,))
        self.write(s, at, ('FOLLOW', at))

    def tx_publish(self, s, i, n, first, token):
        old = self.read(s, first)
        need(old in (EMPTY, PARKED, DEAD), 'publishes into a slot that is in use')
        self.write(s, first, ('READY', first))
        if old == DEAD:
            self.epipe(s, i, n, first, token)
            return
        if self.bug == 'the first is published first':
            self.goto(s, i, 'late', n, first, first + 1, token or old == PARKED)
        else:
            self.finish(s, i, n, first, 'ok', token or old == PARKED)

    def tx_late(self, s, i, n, first, at, token):
        if at == first + self.sends[i][n]:
            self.finish(s, i, n, first, 'ok', token)
            return
        self.follow(s, first, at)
        self.goto(s, i, 'late', n, first, at + 1, token)

    def tx_post(self, s, i, then):
        if s.gone:
            s.tokens = 0
        else:
            need(not s.posted, 'posted twice')
            s.posted = 1
        self.goto(s, i, *then)

    # The receiver.

    def has_block(self, s, at):
        return not self.block or s.next[at // self.block] == LINKED

    def rx_run(self, s):
        if self.has_block(s, s.taken) and kind(self.read(s, s.taken)) in ('READY', 'FOLLOW'):
            x = self.read(s, s.taken)
            need(x[1] == s.taken, 'takes message %d at %d' % (x[1], s.taken))
            need(s.out[s.taken] is None, 'a message comes twice')
            s.out = swap(s.out, s.taken, 'taken')
            if self.bug == 'a slot is not emptied':
                pass
            elif not self.block:
                self.write(s, s.taken, EMPTY)
            s.taken += 1
            s.head = s.taken
        else:
            s.rx = ('word',)

    def rx_word(self, s):
        if s.taken != s.tail:
            s.rx = ('park',)
        elif s.closed:
            s.rx = ('eof',)
        else:
            s.at_tail, s.token = 1, 0
            s.rx = ('parked',)

    def rx_park(self, s):
        b = s.taken // self.block if self.block else 0
        if not self.has_block(s, s.taken):
            s.next = swap(s.next, b, PARKED)
        elif self.read(s, s.taken) == EMPTY:
            self.write(s, s.taken, PARKED)
        else:
            s.rx = ('run',)
            return
        s.token = 0
        s.rx = ('parked',)

    def rx_parked(self, s):
        s.posted, s.token = 0, 1
        s.rx = ('run',)

    def rx_close(self, s):
        s.closed = 1
        s.token += s.at_tail
        s.at_tail = 0
        if self.bug == 'the sweep goes backwards':
            s.rx = ('sweep', s.tail - 1, s.taken - 1, 1, 0)
        else:
            s.rx = ('sweep', s.taken, s.tail, 0 if self.bug == 'the sweep begins with nothing taken' else 1, 0)

    def rx_sweep(self, s, at, end, prev, unpublished):
        if at == end:
            s.token += s.posted
            s.posted, s.gone = 0, 1
            if s.token:
                s.token = s.tokens = 0
            s.swept = 1
            s.rx = ('done',)
            self.settle(s, unpublished)
            return
        b = at // self.block if self.block else 0
        if not self.has_block(s, at):
            s.token += s.next[b] == PARKED
            s.next = swap(s.next, b, KILLED)
            s.rx = ('sweep', end, end, 0, unpublished + (end - at))
            return
        old = self.read(s, at)
        self.write(s, at, DEAD)
        s.token += old == PARKED
        drop = kind(old) == 'READY' or kind(old) == 'FOLLOW' and (prev or self.bug == 'FOLLOW is dropped anyway')
        if drop:
            need(old[1] == at, 'drops message %d at %d' % (old[1], at))
            need(s.out[at] is None, 'dropped twice')
            s.out = swap(s.out, at, 'dropped')
        if self.bug == 'the sweep counts only empty slots':
            unpublished += not isinstance(old, tuple)
        else:
            unpublished += not drop
        s.rx = ('sweep', at + (-1 if self.bug == 'the sweep goes backwards' else 1), end, int(drop), unpublished)


def bug(name, *sends, **more):
    return name, Batch(*sends, bug=name, **more)


SENDS = [((2,),), ((3, 1),), ((2,), (1,)), ((1, 2), (1,)), ((2, 1), (1, 1)), ((2,), (2,)), ((3,), (1, 1)),
         ((1, 2, 1), (1,)), ((2,), (1,), (1,))]

if __name__ == '__main__':
    good = []
    for sends in SENDS:
        for where in {}, {'block': 1}, {'block': 2}:
            for more in {}, {'close': True}:
                name = ' and '.join('+'.join(map(str, x)) for x in sends)
                name += ', blocks of %d' % where['block'] if where else ', ring'
                good.append((name + (', close' if more else ''), Batch(*sends, **where, **more)))
    for sends in ((2, 2, 2),), ((2, 2), (2,)), ((2, 1), (2, 1)), ((1, 2), (2, 1)):
        for more in {'stay': True}, {'close': True}:
            name = ' and '.join('+'.join(map(str, x)) for x in sends)
            good.append((name + ', ring of 4, ' + ', '.join(more), Batch(*sends, ring=4, **more)))
    main(good, [
        bug('the first is published first', (2,)),
        bug('FOLLOW is dropped anyway', (2,), close=True),
        bug('the sweep begins with nothing taken', (2,), close=True),
        bug('the sweep goes backwards', (2,), close=True),
        bug('the sweep counts only empty slots', (2,), block=2, close=True),
        bug('a batch counts off one', (2,), block=1, close=True),
        bug('a slot is not emptied', (2, 2), ring=3),
    ])
