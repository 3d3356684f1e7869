# SPDX-License-Identifier: MIT
"""Watch: who waits for room, to send or to reserve, and who watches for the end: one lock, two lists, and a word for each. See README.md.

Every unlock that leaves somebody in a list is followed by exchange(wanted, 1) if it is the one of the senders, exchange(watched, 1) if
it is the one of the watchers, and then a look at word and head: room for the first one, or CLOSED, means try the lock and serve. Who
frees room does exchange(wanted, 0) after it; who closes does that, and exchange(watched, 0). What was set means try the lock and serve;
if the lock is taken they go."""
from collections import namedtuple

from explore import State, main, need, swap

Word = namedtuple('Word', 'closed tail reserved waiters')


class Watch:
    """waiters: a string such as 'S S2c R2 W P': a sender, one of two messages, a reservation of two places, a watcher, and somebody who
    only takes a parker from the pool; c: it may be cancelled. fill: messages in the queue at the start, and reserved: places that are
    reserved, of `capacity`. frees: what others do, each in a row: 'T' waits for a message and takes it, 't' takes one if it is there,
    'g' gives a reserved place back, 'a' asks. close: 'c' closes, 'd' is a receiver that does: what is not published by its sweep fails."""

    def __init__(self, waiters, capacity=1, fill=None, reserved=0, frees='', close='', bug=None):
        self.kinds = [w[0] for w in waiters.split()]
        self.counts = [int(w.strip('SRWPc') or 1) for w in waiters.split()]
        self.cancels = ['c' in w for w in waiters.split()]
        self.frees, self.closes = frees.split(), close.split()
        names = {'S': 'sender', 'R': 'reserver', 'W': 'watcher', 'P': 'passer-by'}
        self.names = ['%s %d' % (names[k], i) for i, k in enumerate(self.kinds)]
        self.names += ['freer %s' % x for x in self.frees] + ['closer'] * len(self.closes)
        self.capacity, self.reserved, self.bug = capacity, reserved, bug
        self.fill = capacity - reserved if fill is None else fill

    def start(self):
        n = len(self.kinds)
        actors = (('enter',),) * n + tuple(('free', x) for x in self.frees) + tuple(('close', x) for x in self.closes)
        if self.bug == 'the closer exchanges before it sets CLOSED':
            actors = tuple(('take_wanted', ('close', x[1])) if x[0] == 'close' else x for x in actors)
        return State(word=Word(0, self.fill, self.reserved, 0), head=0, ready=(1 << self.fill) - 1, dead=0, lock=None, wanted=0, watched=0,
                     senders=(), watchers=(), node=('out',) * n, left=tuple(self.counts), at=actors)

    # What is checked.

    def room(self, word, head):
        return self.capacity - word.reserved - (word.tail - head)

    def need_of(self, s, i):
        return s.left[i] if self.kinds[i] == 'R' or self.bug == 'the look is for all messages of a sender' else 1

    def always(self, s):
        need(self.room(s.word, s.head) >= 0, 'more messages than room')
        if s.lock is None and not s.word.closed:
            need(bool(s.senders) == bool(s.word.waiters), 'WAITERS is %d, and %d wait' % (s.word.waiters, len(s.senders)))

    def at_rest(self, s):
        need(s.lock is None, 'the lock is left')
        for i in s.senders + s.watchers:
            need(not s.word.closed, 'waiter %d waits though the channel is closed' % i)
        for i in s.senders[:1]:
            need(self.room(s.word, s.head) < (self.counts[i] if self.kinds[i] == 'R' else 1), 'waiter %d waits beside room' % i)
        need(s.wanted or not s.senders, 'somebody waits for room, and nobody will know')
        need(s.watched or not s.watchers, 'somebody watches, and nobody will know')
        for i, pc in enumerate(s.at):
            need(pc[0] in ('end', 'free') or pc[0] == 'wait' and s.node[i] == 'queued', 'actor %d is stuck' % i)

    def finish(self, s, i):
        """Waiter `i` was told, or returns."""
        need(s.node[i] in ('out', 'moving'), 'waiter %d, which is %s, is told' % (i, s.node[i]))
        s.node = swap(s.node, i, 'gone')
        if s.at[i][0] == 'wait':
            s.at = swap(s.at, i, ('end',))

    # Steps. A place is (step, ...); `then` is where a subroutine goes back to.

    def goto(self, s, i, pc):
        if pc[0] == 'wait' and s.node[i] == 'gone' or pc[0] == 'free' and not pc[1]:
            pc = ('end',)
        s.at = swap(s.at, i, pc)

    def steps(self, s):
        out = []
        for i, (k, *more) in enumerate(s.at):
            if k == 'end' or k in ('enter', 'wait') and s.lock is not None:
                continue
            if k == 'wait' and not (self.cancels[i] and more[0]):
                continue
            if k == 'free' and more[0][0] == 'T' and not s.ready >> s.head & 1:
                continue
            out.append((self.names[i], ' '.join(map(str, [k] + more)), getattr(self, 'do_' + k), i, *more))
        return out

    # uvch__queue_wait(), uvch__queue_cancel(), uvch__queue_parker(). The lists change only under the lock.

    def do_enter(self, s, i):
        s.lock = i
        self.goto(s, i, ('unlock', None, ('end',)) if self.kinds[i] == 'P' else ('queue',))

    def do_queue(self, s, i):
        if s.word.closed:
            self.finish(s, i)
        else:
            s.node = swap(s.node, i, 'queued')
            if self.kinds[i] == 'W':
                s.watchers += (i,)
            else:
                s.word = s.word._replace(waiters=1)
                s.senders += (i,)
        self.goto(s, i, ('unlock', None, ('wait', 1)))

    def do_wait(self, s, i, may_cancel):
        """Cancels."""
        s.lock = i
        if s.node[i] == 'queued':
            self.unlink(s, i)
            s.node = swap(s.node, i, 'out')
            if not s.senders:
                self.goto(s, i, ('clear',))
                return
            self.finish(s, i)
        self.goto(s, i, ('unlock', None, ('wait', 0)))

    def do_clear(self, s, i):
        s.word = s.word._replace(waiters=0)
        self.finish(s, i)
        self.goto(s, i, ('unlock', None, ('wait', 0)))

    def unlink(self, s, i):
        s.senders = tuple(x for x in s.senders if x != i)
        s.watchers = tuple(x for x in s.watchers if x != i)

    # unlock(). served: None, or (waiter, status, index, count) of a server, whose waiter may be None.

    def do_unlock(self, s, i, served, then):
        places = self.need_of(s, s.senders[0]) if s.senders else 0
        watched = len(s.watchers) > 0
        own = self.kinds[i] if i < len(self.kinds) else None
        if self.bug != 'the look is before the unlock':
            s.lock = None
        arm = []
        if places:
            arm.append('arm_wanted')
        if watched:
            arm.append('arm_watched')
        if self.bug == 'a cancel only unlocks' and then == ('wait', 0) and served is None or \
                self.bug == 'no look after a watcher has come' and then == ('wait', 1) and own == 'W' and served is None:
            places, arm = 0, []
        if self.bug == 'only the own kind is armed' and own is not None and served is None:
            arm = [x for x in arm if (x == 'arm_watched') == (own == 'W')]
            arm = arm or ['look_word']
        if self.bug == 'a server does not arm again' and served is not None and arm:
            arm = ['look_word']
        if self.bug == 'it is armed after the look':
            arm = ['look_and_arm'] if arm else []
        if arm:
            self.goto(s, i, (arm[0], places, served, then) if len(arm) == 1 else ('arm_both', places, served, then))
        else:
            self.done(s, i, 0, served, then)

    def do_arm_both(self, s, i, places, served, then):
        s.wanted = 1
        self.goto(s, i, ('arm_watched', places, served, then))

    def do_arm_wanted(self, s, i, places, served, then):
        s.wanted = 1
        self.goto(s, i, ('look_word', places, served, then))

    def do_arm_watched(self, s, i, places, served, then):
        s.watched = 1
        self.goto(s, i, ('look_word', places, served, then))

    def do_look_and_arm(self, s, i, places, served, then):
        more = s.word.closed or places and self.room(s.word, s.head) >= places
        self.goto(s, i, ('arm_late', places, int(more), served, then))

    def do_arm_late(self, s, i, places, more, served, then):
        s.wanted, s.watched = (1, s.watched) if places else (s.wanted, 1)
        self.done(s, i, more, served, then)

    def do_look_word(self, s, i, places, served, then):
        if s.word.closed and not (self.bug == 'the look is not at CLOSED' and places):
            self.done(s, i, 1, served, then)
        elif places:
            self.goto(s, i, ('look_head', s.word, places, served, then))
        else:
            self.done(s, i, 0, served, then)

    def do_look_head(self, s, i, word, places, served, then):
        if self.bug == 'the look is for one place':
            places = 1
        self.done(s, i, int(self.room(word, s.head) >= places), served, then)

    def done(self, s, i, more, served, then):
        if self.bug == 'a server does not look again' and served is not None:
            more = 0
        after = ('try', then) if more else then
        if served is not None and served[0] is not None:
            pick, status, index, n = served
            after = ('fill' if self.kinds[pick] == 'S' and status == 0 else 'tell', served, after)
        elif served is not None and self.bug == 'a part is copied after the unlock' and served[3]:
            after = ('part', served[1], served[2], served[3], after)
        self.goto(s, i, ('unlock_late', after) if s.lock == i else after)

    def do_unlock_late(self, s, i, then):
        s.lock = None
        self.goto(s, i, then)

    # serve(), try_serve() and next().

    def do_try(self, s, i, then):
        if s.lock is not None:
            self.goto(s, i, then)
            return
        s.lock = i
        nobody = ('unlock', (None, 0, 0, 0), then)
        self.goto(s, i, ('claim_word', then) if s.senders else ('is_closed', then) if s.watchers else nobody)

    def do_is_closed(self, s, i, then):
        if s.word.closed:
            self.pick(s, i, s.watchers[0], 0, 0, 0, then)
        else:
            self.goto(s, i, ('unlock', (None, 0, 0, 0), then))

    def do_claim_word(self, s, i, then):
        self.goto(s, i, ('claim', s.word, 0, then) if s.word.closed else ('claim_head', s.word, then))

    def do_claim_head(self, s, i, word, then):
        room = self.room(word, s.head)
        if room < self.need_of(s, s.senders[0]):
            self.goto(s, i, ('unlock', (None, 0, 0, 0), then))
        else:
            self.goto(s, i, ('claim', word, room, then))

    def do_claim(self, s, i, word, room, then):
        """The CAS, and what goes before the unlock."""
        if s.word != word:
            self.do_claim_word(s, i, then)
            return
        pick = s.senders[0]
        n = min(s.left[pick], room)
        last = len(s.senders) == 1 and (word.closed or n == s.left[pick] or self.bug == 'a part clears WAITERS')
        if not word.closed:
            s.word = word._replace(reserved=word.reserved + n) if self.kinds[pick] == 'R' else word._replace(tail=word.tail + n)
        if last:
            s.word = s.word._replace(waiters=0)
        if not word.closed and n < s.left[pick]:
            if self.bug == 'a part is copied after the unlock':
                self.goto(s, i, ('unlock', (None, pick, word.tail, n), then))
            else:
                self.goto(s, i, ('part', pick, word.tail, n, ('unlock', (None, 0, 0, 0), then)))
        else:
            self.pick(s, i, pick, 1 if word.closed else 0, word.tail, n, then)

    def pick(self, s, i, pick, status, index, n, then):
        need(s.node[pick] == 'queued', 'serves waiter %d, which is %s' % (pick, s.node[pick]))
        s.node = swap(s.node, pick, 'moving')
        self.unlink(s, pick)
        self.goto(s, i, ('unlock', (pick, status, index, n), then))

    def publish(self, s, pick, index, n):
        """0: the receiver has closed."""
        if s.dead:
            return 0
        s.ready |= (1 << n) - 1 << index
        s.left = swap(s.left, pick, s.left[pick] - n)
        return 1

    def do_part(self, s, i, pick, index, n, then):
        need(s.node[pick] == 'queued' and n < s.left[pick], 'copies messages of waiter %d, which is %s' % (pick, s.node[pick]))
        self.publish(s, pick, index, n)
        self.goto(s, i, then)

    def do_fill(self, s, i, served, then):
        pick, status, index, n = served
        need(s.node[pick] == 'moving' and n == s.left[pick], 'copies messages of waiter %d, which is %s' % (pick, s.node[pick]))
        if not self.publish(s, pick, index, n):
            status = 1
        self.goto(s, i, ('tell', (pick, status, index, n), then))

    def do_tell(self, s, i, served, then):
        pick, status = served[:2]
        need(s.word.closed or status == 0 and self.kinds[pick] != 'W', 'waiter %d is told of a close too early' % pick)
        need(status or self.kinds[pick] != 'S' or s.left[pick] == 0, 'waiter %d is told too early' % pick)
        self.finish(s, pick)
        self.goto(s, i, then)

    # Who frees and who closes.

    def do_free(self, s, i, what):
        then = ('free', what[1:])
        if what[0] in 'Tt' and s.ready >> s.head & 1:
            s.head += 1
        elif what[0] == 'g':
            s.word = s.word._replace(reserved=s.word.reserved - 1)
        elif what[0] == 'a' and self.bug != 'room is not asked for':
            was, s.wanted = s.wanted, 0
            if self.bug == 'an ask clears `watched` as well':
                s.watched = 0
            then = ('try', then) if was else then
        self.goto(s, i, then)

    def do_close(self, s, i, how):
        s.word = s.word._replace(closed=1)
        if self.bug == 'the closer exchanges before it sets CLOSED':
            self.goto(s, i, ('end',))
        else:
            self.goto(s, i, ('sweep',) if how == 'd' else ('take_wanted', ('end',)))

    def do_sweep(self, s, i):
        s.dead = 1
        self.goto(s, i, ('take_wanted', ('end',)))

    def do_take_wanted(self, s, i, then):
        was = 0
        if self.bug != 'the closer looks at `watched` only':
            was, s.wanted = s.wanted, 0
        if self.bug == 'the closer looks at `wanted` only':
            self.goto(s, i, ('try', then) if was else then)
        else:
            self.goto(s, i, ('take_watched', was, then))

    def do_take_watched(self, s, i, was, then):
        was, s.watched = was | s.watched, 0
        self.goto(s, i, ('try', then) if was else then)


def bug(name, waiters, **more):
    return name, Watch(waiters, bug=name, **more)


ALL = [
    ('W', dict(close='c c')),
    ('W Wc', dict(close='c')),
    ('W P', dict(close='c')),
    ('S', dict(frees='Ta', close='d')),
    ('S P', dict(frees='Ta', close='c')),
    ('S S', dict(frees='TaTa')),
    ('S Sc', dict(frees='Ta')),
    ('S W', dict(frees='Ta')),
    ('S W', dict(close='c')),
    ('Sc W', dict(close='c')),
    ('S Wc', dict(frees='Ta')),
    ('S W', dict(frees='Ta', close='c')),
    ('S Wc', dict(frees='Ta', close='c')),
    ('S2', dict(frees='TaTa', close='d')),
    ('S2c W', dict(frees='Ta')),
    ('S2 R', dict(frees='TaTa')),
    ('S2', dict(capacity=2, reserved=1, frees='Ta ga')),
    ('R2', dict(capacity=2, reserved=1, frees='Ta ga', close='c')),
    ('R2 S', dict(capacity=2, reserved=1, frees='Taga')),
    ('R2c S', dict(capacity=2, frees='Tta')),
    ('R2 Wc', dict(capacity=2, frees='Tta')),
]

if __name__ == '__main__':
    good = [(waiters + ''.join(', %s %s' % x for x in more.items()), Watch(waiters, **more)) for waiters, more in ALL]
    main(good, [
        bug('the closer looks at `watched` only', 'S', close='c'),
        bug('the closer looks at `wanted` only', 'W', close='c'),
        bug('the closer exchanges before it sets CLOSED', 'W', close='c'),
        bug('only the own kind is armed', 'R2 W', capacity=2, frees='TaTa'),
        bug('it is armed after the look', 'W', close='c'),
        bug('no look after a watcher has come', 'W', close='c'),
        bug('a cancel only unlocks', 'W Wc', close='c'),
        bug('the look is before the unlock', 'S', frees='Ta'),
        bug('the look is not at CLOSED', 'S', close='c'),
        bug('the look is for one place', 'R2', capacity=2, frees='Ta'),
        bug('the look is for all messages of a sender', 'S2', capacity=2, frees='Ta'),
        bug('a server does not look again', 'W W', close='c'),
        bug('a server does not arm again', 'S S', frees='TaTa'),
        bug('room is not asked for', 'S', frees='Ta'),
        bug('an ask clears `watched` as well', 'W', frees='Ta', close='c'),
        bug('a part is copied after the unlock', 'S2c', frees='Ta'),
        bug('a part clears WAITERS', 'S2', frees='Ta'),
    ])
