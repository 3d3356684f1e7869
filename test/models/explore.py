# SPDX-License-Identifier: MIT
"""Walks through everything that a few threads can do, step by step, and tells the shortest way to a fault.

A model has four parts:

  start        a State: named values, all of them immutable (numbers, strings, tuples)
  steps(s)     what can be done next: a list of (who, what, function, arguments); the function changes a copy of the state
  always(s)    looks at every state
  at_rest(s)   looks at every state in which nobody can do anything any more

All of them raise Fault for what must not be. That no state at rest can be reached any more is a fault as well: something goes round
for ever."""
import sys
import time
from collections import deque


class Fault(Exception):
    pass


def need(condition, complaint):
    if not condition:
        raise Fault(complaint)


class State:
    def __init__(self, **values):
        self.__dict__.update(values)

    def copy(self):
        other = State.__new__(State)
        other.__dict__.update(self.__dict__)
        return other


def swap(row, place, value):
    """The tuple with another value at one place."""
    return row[:place] + (value,) + row[place + 1:]


class Search:
    """count: how many states there are; fault: None or what is wrong; way: the steps that lead there."""

    def __init__(self, model, most=400000):
        first = model.start()
        number = {tuple(first.__dict__.values()): 0}
        came = [(-1, '')]
        before = [[]]
        resting = []
        todo = deque([(0, first)])
        self.fault, self.way = None, []
        while todo and self.fault is None:
            here, state = todo.popleft()
            label = None
            try:
                steps = model.steps(state)
                if not steps:
                    model.at_rest(state)
                    resting.append(here)
                for who, what, function, *arguments in steps:
                    label = '%s: %s' % (who, what)
                    after = state.copy()
                    function(after, *arguments)
                    key = tuple(after.__dict__.values())
                    there = number.get(key)
                    if there is None:
                        model.always(after)
                        there = number[key] = len(came)
                        came.append((here, label))
                        before.append([])
                        todo.append((there, after))
                    before[there].append(here)
            except Fault as fault:
                self._found(str(fault), came, here, label)
            if len(came) > most:
                raise SystemExit('more than %d states: make the configuration smaller' % most)
        self.count = len(came)
        if self.fault is None:
            self._look_for_rounds(came, before, resting)

    def _found(self, complaint, came, at, label):
        self.fault = complaint
        self.way = [label] if label is not None else []
        while at > 0:
            at, label = came[at]
            self.way.insert(0, label)

    def _look_for_rounds(self, came, before, resting):
        can_rest = [False] * len(came)
        todo = list(resting)
        for at in todo:
            can_rest[at] = True
        while todo:
            for at in before[todo.pop()]:
                if not can_rest[at]:
                    can_rest[at] = True
                    todo.append(at)
        if not all(can_rest):
            self._found('from here on nothing comes to rest any more', came, can_rest.index(False), None)


def main(good, bugs):
    """good: (name, model) that must hold; bugs: (name, model) that must not. -v shows the ways."""
    wrong = total = 0
    for names, seeded in ((good, False), (bugs, True)):
        for name, model in names:
            began = time.perf_counter()
            search = Search(model)
            took = time.perf_counter() - began
            total += search.count
            found = search.fault is not None
            wrong += found != seeded
            result = ('found: ' if seeded else 'FAULT: ') + search.fault if found else 'NOT FOUND' if seeded else 'holds'
            print('%-62s %7d %5.1f s  %s' % (('bug: ' if seeded else '') + name, search.count, took, result), flush=True)
            if found and (not seeded or '-v' in sys.argv[1:]):
                for step in search.way:
                    print('    ' + step)
    print('%d states; %s' % (total, '%d lines are not as expected' % wrong if wrong else 'all as expected'))
    sys.exit(1 if wrong else 0)
