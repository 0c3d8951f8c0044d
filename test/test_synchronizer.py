"""The synchronizer: complete and partial sets, order, lateness, jumps, load, locks."""

import itertools
import random
import threading
import types

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voxelpose_core.errors import InputError
from voxelpose_core.synchronization.camera_statistics import SECOND
from voxelpose_core.synchronization.synchronizer import Synchronizer
from voxelpose_ros.latest_slot import LatestOfEach, LatestSlot

MS = SECOND // 1000


class Bench:
    """A synchronizer with a clock that the test sets, and the sets that came out of it."""

    def __init__(self, cameras=3, **options):
        self.names = [f"camera{i}" for i in range(cameras)]
        options = {"slop_s": 0.015, "max_wait_s": 0.1, "min_cameras": min(2, cameras)} | options
        self.synchronizer = Synchronizer(self.names, **options)
        self.sets = []
        self.synchronizer.registerCallback(self.sets.append)

    def add(self, camera, stamp_ms, at_ms=None, message=None):
        at_ms = stamp_ms if at_ms is None else at_ms
        message = (camera, stamp_ms) if message is None else message
        self.synchronizer.add(self.names[camera], round(stamp_ms * MS), message, now_ns=round(at_ms * MS))

    def poll(self, at_ms):
        self.synchronizer.poll(now_ns=round(at_ms * MS))

    def statistics(self, camera):
        return self.synchronizer.statistics[self.names[camera]]

    @property
    def sizes(self):
        return [sum(m is not None for m in s.messages) for s in self.sets]


def test_a_complete_set_comes_out_with_its_last_message():
    bench = Bench()
    bench.add(0, 1000)
    bench.add(2, 1004)
    assert bench.sets == []
    bench.add(1, 1008)
    (frame_set,) = bench.sets
    assert frame_set.messages == ((0, 1000), (1, 1008), (2, 1004))
    assert frame_set.complete
    assert frame_set.stamp_ns == 1004 * MS


@pytest.mark.parametrize("cameras", range(1, 17))
def test_every_frame_set_of_any_number_of_cameras(cameras):
    bench = Bench(cameras)
    for frame_set in range(20):
        for camera in range(cameras):
            bench.add(camera, 1000 + 33 * frame_set)
    assert bench.sizes == [cameras] * 20


def test_messages_further_apart_than_the_slop_are_two_frame_sets():
    bench = Bench(2, slop_s=0.010)
    bench.add(0, 1000)
    bench.add(1, 1011)
    bench.poll(2000)
    assert bench.sets == []
    assert bench.statistics(0).unmatched == bench.statistics(1).unmatched == 1


def test_the_slop_itself_is_near_enough():
    bench = Bench(2, slop_s=0.010)
    bench.add(0, 1000)
    bench.add(1, 1010)
    assert bench.sizes == [2]


def test_a_partial_set_waits_and_then_goes():
    bench = Bench(3)
    bench.add(0, 1000, at_ms=0)
    bench.add(1, 1000, at_ms=10)
    bench.poll(99)
    assert bench.sets == []
    bench.poll(100)
    assert bench.sizes == [2]
    assert not bench.sets[0].complete
    assert bench.sets[0].messages[2] is None


def test_too_few_cameras_never_make_a_set():
    bench = Bench(4, min_cameras=3)
    bench.add(0, 1000)
    bench.add(1, 1000)
    bench.poll(5000)
    assert bench.sets == []
    assert [bench.statistics(c).unmatched for c in range(4)] == [1, 1, 0, 0]


def test_a_complete_set_pushes_the_older_partial_one_out_first():
    bench = Bench(3)
    bench.add(0, 1000)
    bench.add(1, 1000)
    for camera in range(3):
        bench.add(camera, 1033)
    assert bench.sizes == [2, 3]
    assert [s.stamp_ns for s in bench.sets] == [1000 * MS, 1033 * MS]


def test_late_messages_are_counted_and_do_not_open_a_frame_set():
    bench = Bench(3)
    bench.add(0, 1000)
    bench.add(1, 1000)
    bench.poll(1200)
    bench.add(2, 1003, at_ms=1210)
    assert bench.statistics(2).late == 1
    for camera in range(3):
        bench.add(camera, 1033, at_ms=1220)
    assert bench.sizes == [2, 3]


def test_out_of_order_messages_find_their_frame_sets():
    bench = Bench(2)
    bench.add(0, 1000)
    bench.add(0, 1033)
    bench.add(1, 1033)
    assert [s.stamp_ns for s in bench.sets] == [1033 * MS]
    # Camera 1's message of the older frame set comes too late: it went nowhere with one camera.
    bench.add(1, 1000)
    assert bench.statistics(1).late == 1
    bench.add(1, 1066)
    bench.add(0, 1066)
    assert [s.stamp_ns for s in bench.sets] == [1033 * MS, 1066 * MS]


def test_duplicates_are_counted_and_ignored():
    bench = Bench(2)
    bench.add(0, 1000)
    bench.add(0, 1000, message="again")
    bench.add(1, 1000)
    bench.add(1, 1000)
    assert bench.sizes == [2]
    assert bench.sets[0].messages[0] == (0, 1000)
    assert bench.statistics(0).duplicate == bench.statistics(1).duplicate == 1


def test_a_dead_camera_is_waited_for_only_until_it_counts_as_silent():
    bench = Bench(3)
    for frame_set in range(90):
        alive = 3 if frame_set < 30 else 2
        for camera in range(alive):
            bench.add(camera, 1000 + 33 * frame_set)
        bench.poll(1000 + 33 * frame_set + 20)
    bench.poll(60000)
    assert bench.sizes == [3] * 30 + [2] * 60
    # The last ones came out with their last message.
    bench.add(0, 5000, at_ms=61000)
    bench.add(1, 5000, at_ms=61000)
    assert len(bench.sets) == 91


def test_cameras_that_pause_together_are_all_waited_for_afterwards():
    """A player that goes step by step behind a slow estimator."""
    bench = Bench(3)
    for frame_set in range(5):
        for camera in range(3):
            bench.add(camera, 1000 + 10_000 * frame_set + camera)
    assert bench.sizes == [3] * 5


def test_a_camera_that_comes_back_is_in_the_next_set():
    bench = Bench(3)
    for frame_set in range(100):
        for camera in range(3):
            if camera < 2 or not 20 <= frame_set < 80:
                bench.add(camera, 1000 + 33 * frame_set)
        bench.poll(1000 + 33 * frame_set + 20)
    assert bench.sizes[-20:] == [2] + [3] * 19


def test_a_slow_camera_joins_where_it_has_a_frame():
    bench = Bench(3)
    for frame_set in range(60):
        for camera in range(3):
            if camera < 2 or frame_set % 3 == 0:
                bench.add(camera, 1000 + 33 * frame_set)
        bench.poll(1000 + 33 * frame_set + 20)
    bench.poll(10000)
    assert len(bench.sets) == 60
    assert bench.sizes.count(3) == 20


@pytest.mark.parametrize("jump_ms", [-3600_000, -5000, 5000, 3600_000])
def test_a_jump_in_time_loses_nothing_of_the_new_time_line(jump_ms):
    bench = Bench(3)
    start = 10_000_000
    for frame_set in range(10):
        for camera in range(3):
            bench.add(camera, start + 33 * frame_set)
    bench.add(0, start + 330)  # left alone by the jump
    before = len(bench.sets)
    for frame_set in range(10):
        for camera in range(3):
            bench.add(camera, start + jump_ms + 33 * frame_set, at_ms=start + 400 + 33 * frame_set)
    bench.poll(start + 5000)
    assert before == 10
    assert bench.sizes == [3] * 20
    assert [s.stamp_ns for s in bench.sets[10:]] == [
        (start + jump_ms + 33 * frame_set) * MS for frame_set in range(10)
    ]


def test_a_short_step_back_recovers_within_a_second():
    bench = Bench(2)
    for frame_set in range(100):
        shift = -500 if frame_set >= 50 else 0
        for camera in range(2):
            bench.add(camera, 10_000 + 33 * frame_set + shift, at_ms=10_000 + 33 * frame_set)
    assert len(bench.sets) >= 100 - 1000 // 33


def test_one_camera_with_a_mad_clock_does_not_stop_the_others():
    bench = Bench(3)
    for frame_set in range(60):
        bench.add(0, 1000 + 33 * frame_set)
        bench.add(1, 1000 + 33 * frame_set)
        bench.add(2, 10**10 + 33 * frame_set, at_ms=1000 + 33 * frame_set)
        bench.poll(1000 + 33 * frame_set + 20)
    bench.poll(10_000)
    assert bench.sizes == [2] * 60
    stamps = [s.stamp_ns for s in bench.sets]
    assert stamps == sorted(stamps)


def test_offsets_put_a_delayed_camera_right():
    bench = Bench(2, slop_s=0.005, offsets_s={"camera1": -0.040})
    bench.add(0, 1000)
    bench.add(1, 1041)
    (frame_set,) = bench.sets
    assert frame_set.complete and frame_set.stamp_ns == 1000.5 * MS


def test_memory_stays_bounded():
    bench = Bench(4, min_cameras=4)
    for frame_set in range(10_000):
        bench.add(frame_set % 3, 40 * frame_set)
    assert len(bench.synchronizer._open) <= 8
    counts = [bench.statistics(c) for c in range(3)]
    assert sum(c.unmatched for c in counts) >= 9_900


def test_the_callback_may_call_back():
    """It does not run under the lock."""
    synchronizer = Synchronizer(["a", "b"])
    seen = []

    def callback(frame_set):
        seen.append(frame_set.stamp_ns)
        synchronizer.poll(now_ns=0)
        if len(seen) < 3:
            synchronizer.add("a", len(seen) * SECOND, "m", now_ns=0)
            synchronizer.add("b", len(seen) * SECOND, "m", now_ns=0)

    synchronizer.registerCallback(callback)
    synchronizer.add("a", 0, "m", now_ns=0)
    synchronizer.add("b", 0, "m", now_ns=0)
    assert seen == [0, SECOND, 2 * SECOND]


def test_a_callback_that_raises_does_not_block_the_next_set():
    synchronizer = Synchronizer(["a", "b"])
    stamps = []

    def callback(frame_set):
        stamps.append(frame_set.stamp_ns)
        if len(stamps) == 1:
            raise RuntimeError("once")

    synchronizer.registerCallback(callback)
    synchronizer.add("a", 0, "m", now_ns=0)
    with pytest.raises(RuntimeError, match="once"):
        synchronizer.add("b", 0, "m", now_ns=0)
    for name in "ab":
        synchronizer.add(name, SECOND, "m", now_ns=0)
    assert stamps == [0, SECOND]


def test_sets_of_many_threads_come_out_once_and_in_order():
    names = [f"camera{i}" for i in range(4)]
    synchronizer = Synchronizer(names, slop_s=0.01, max_wait_s=60)
    stamps = []
    synchronizer.registerCallback(lambda frame_set: stamps.append(frame_set.stamp_ns))
    barrier = threading.Barrier(len(names))

    def feed(name):
        for frame_set in range(300):
            barrier.wait()
            synchronizer.add(name, frame_set * 33 * MS, "m")

    threads = [threading.Thread(target=feed, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stamps == [frame_set * 33 * MS for frame_set in range(300)]


def test_it_composes_with_message_filters_subscribers():
    """connectInput needs nothing of its inputs but registerCallback."""

    class Source:
        def registerCallback(self, callback, *args):
            self.send = lambda message: callback(message, *args)

    def message(sec, nanosec):
        stamp = types.SimpleNamespace(sec=sec, nanosec=nanosec)
        return types.SimpleNamespace(header=types.SimpleNamespace(stamp=stamp))

    sources = [Source(), Source()]
    synchronizer = Synchronizer(["a", "b"])
    synchronizer.connectInput(sources)
    sets = []
    synchronizer.registerCallback(lambda frame_set, tag: sets.append((frame_set, tag)), "tag")
    first, second = message(7, 5), message(7, 9)
    sources[0].send(first)
    sources[1].send(second)
    ((frame_set, tag),) = sets
    assert tag == "tag"
    assert frame_set.messages == (first, second)
    assert frame_set.stamp_ns == 7 * SECOND + 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_cameras": 4}, "min_cameras is 4"),
        ({"min_cameras": 0}, "min_cameras is 0"),
        ({"slop_s": -1.0}, "slop"),
        ({"max_wait_s": -1.0}, "maximum wait"),
    ],
)
def test_limits_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Bench(3, **options)


def test_two_cameras_of_one_name_are_refused():
    with pytest.raises(InputError, match="twice"):
        Synchronizer(["a", "a"])


def camera_stream(cameras, frame_sets, period, jitter, delay, drop, seed):
    """(arrival, camera, stamp, frame set) in ms, sorted by arrival."""
    source = random.Random(seed)
    events = []
    for frame_set, camera in itertools.product(range(frame_sets), range(cameras)):
        if source.random() >= drop:
            stamp = 10_000 + frame_set * period + source.uniform(-jitter, jitter)
            events.append((stamp + source.uniform(0, delay), camera, stamp, frame_set))
    return sorted(events)


def play(bench, events):
    for arrival, camera, stamp, frame_set in events:
        bench.add(camera, stamp, at_ms=arrival, message=(camera, frame_set))
        bench.poll(arrival)
    bench.poll(events[-1][0] + 10_000)


def exhaustive_sets(events, cameras):
    """What an oracle that knows the frame sets would put together: cameras by frame set."""
    frame_sets = {}
    for _, camera, _, frame_set in events:
        frame_sets.setdefault(frame_set, set()).add(camera)
    return {frame_set: seen for frame_set, seen in frame_sets.items() if len(seen) >= min(2, cameras)}


@settings(max_examples=60, deadline=None)
@given(
    cameras=st.integers(1, 16),
    jitter=st.floats(0, 7),
    delay=st.floats(0, 15),
    drop=st.floats(0, 0.5),
    seed=st.integers(0, 10**6),
)
def test_where_frame_sets_lie_apart_every_one_comes_out_whole(cameras, jitter, delay, drop, seed):
    """Jitter below a quarter of the period: no two frame sets can be confused."""
    events = camera_stream(cameras, 40, 33, jitter, delay, drop, seed)
    if not events:
        return
    bench = Bench(cameras, slop_s=0.0145)
    play(bench, events)
    expected = exhaustive_sets(events, cameras)
    found = {}
    for frame_set in bench.sets:
        numbers = {message[1] for message in frame_set.messages if message is not None}
        assert len(numbers) == 1, "a set of two frame sets"
        found[numbers.pop()] = {m[0] for m in frame_set.messages if m is not None}
    assert found == expected


@example(cameras=10, jitter=12.0, delay=100.0, drop=0.0, slop=44.0, seed=613)
@settings(max_examples=40, deadline=None)
@given(
    cameras=st.integers(2, 16),
    jitter=st.floats(0, 50),
    delay=st.floats(0, 200),
    drop=st.floats(0, 0.9),
    slop=st.floats(0, 60),
    seed=st.integers(0, 10**6),
)
def test_whatever_comes_the_promises_hold(cameras, jitter, delay, drop, slop, seed):
    events = camera_stream(cameras, 30, 33, jitter, delay, drop, seed)
    if not events:
        return
    bench = Bench(cameras, slop_s=slop / 1e3)
    play(bench, events)
    used = [m for s in bench.sets for m in s.messages if m is not None]
    assert len(used) == len(set(used)), "a message went out twice"
    stamp_of = {(camera, number): stamp for _, camera, stamp, number in events}
    for frame_set in bench.sets:
        stamps_ms = [stamp_of[message] for message in filter(None, frame_set.messages)]
        assert max(stamps_ms) - min(stamps_ms) <= slop + 1e-5
        assert sum(m is not None for m in frame_set.messages) >= 2
    stamps = [s.stamp_ns for s in bench.sets]
    assert stamps == sorted(stamps)
    counts = bench.synchronizer.statistics.values()
    for count in counts:
        assert count.received == count.used + count.late + count.duplicate + count.unmatched
    assert sum(count.used for count in counts) == len(used)


@pytest.mark.parametrize("cameras", [5, 8, 16])
@pytest.mark.parametrize("dead", [0, 1])
def test_jitter_delay_and_drops_of_real_cameras(cameras, dead):
    """30 Hz, +-10 ms jitter, up to 30 ms of transport, 5 % drops."""
    events = camera_stream(cameras - dead, 300, 1000 / 30, 10, 30, 0.05, seed=cameras)
    bench = Bench(cameras, slop_s=0.020)
    play(bench, events)
    expected = exhaustive_sets(events, cameras)
    pure = [{m[1] for m in s.messages if m is not None} for s in bench.sets]
    assert sum(len(frame_sets) == 1 for frame_sets in pure) >= 0.99 * len(bench.sets)
    whole = {m for m, seen in expected.items() if len(seen) == cameras}
    assert whole <= {min(p) for p, s in zip(pure, bench.sets) if len(p) == 1 and s.complete}
    assert len(bench.sets) >= 0.99 * len(expected)


def test_few_cameras_with_much_jitter_lose_next_to_nothing():
    """With three the rhythm is known less well; messages that overtake each other cost sets too."""
    lost = frame_sets = 0
    for seed in range(5):
        events = camera_stream(3, 300, 1000 / 30, 10, 30, 0.05, seed)
        bench = Bench(3, slop_s=0.020)
        play(bench, events)
        whole = {m for m, seen in exhaustive_sets(events, 3).items() if len(seen) == 3}
        sets = [{m[1] for m in s.messages} for s in bench.sets if s.complete]
        lost += len(whole - {min(numbers) for numbers in sets if len(numbers) == 1})
        frame_sets += len(whole)
    assert lost <= 0.01 * frame_sets


def best_partition(events, slop):
    """The exhaustive matcher: of all ways to put messages together the fewest, tightest sets.

    Sets hold one message of a camera and spread at most `slop`; messages are (camera, stamp).
    """
    best = [(len(events) + 1, 0.0), None]

    def place(index, sets):
        if len(sets) > best[0][0]:
            return
        if index == len(events):
            spread = sum(max(s for _, s in group) - min(s for _, s in group) for group in sets)
            if (len(sets), spread) < best[0]:
                best[:] = [(len(sets), spread), [frozenset(group) for group in sets]]
            return
        camera, stamp = events[index]
        for group in sets:
            stamps = [s for _, s in group] + [stamp]
            if camera not in {c for c, _ in group} and max(stamps) - min(stamps) <= slop:
                group.append((camera, stamp))
                place(index + 1, sets)
                group.pop()
        place(index + 1, [*sets, [(camera, stamp)]])

    place(0, [])
    return set(best[1])


@settings(max_examples=60, deadline=None)
@given(
    cameras=st.integers(2, 4),
    jitter=st.floats(0, 6),
    delay=st.floats(0, 15),
    drop=st.floats(0, 0.4),
    seed=st.integers(0, 10**6),
)
def test_it_finds_what_an_exhaustive_matcher_finds(cameras, jitter, delay, drop, seed):
    """That matcher knows no frame sets: it tries every way to put the messages together."""
    events = camera_stream(cameras, 3, 33, jitter, delay, drop, seed)
    stamps = [(camera, round(stamp, 3)) for _, camera, stamp, _ in events]
    expected = {group for group in best_partition(stamps, 14.0) if len(group) >= 2}
    bench = Bench(cameras, slop_s=0.014)
    for (arrival, *_), (camera, stamp) in zip(events, stamps):
        bench.add(camera, stamp, at_ms=arrival)
    bench.poll(1e6)
    found = {frozenset(m for m in s.messages if m is not None) for s in bench.sets}
    assert found == expected


def test_a_steady_rhythm_tells_jittering_neighbours_apart():
    """A message 16 ms after another is of the next frame set, or of the same, as the rhythm says."""
    bench = Bench(3, slop_s=0.020)
    for frame_set in range(10):
        for camera in range(3):
            bench.add(camera, 1000 + 33 * frame_set)
    bench.add(0, 1330 + 9)  # camera 1 loses its frame; camera 2 is slow
    bench.add(1, 1363 - 8, at_ms=1356)
    bench.add(2, 1330 - 5, at_ms=1357)
    bench.add(0, 1363, at_ms=1364)
    bench.add(2, 1363, at_ms=1364)
    assert bench.sizes[10:] == [2, 3]
    assert bench.sets[10].messages == ((0, 1339), None, (2, 1325))


@pytest.mark.parametrize("seed", range(3))
def test_cameras_without_a_rhythm_are_put_together_all_the_same(seed):
    """A trigger by hand: the stamps of a frame set agree, the frame sets come as they like."""
    source = random.Random(seed)
    bench, now = Bench(3), 1000.0
    for _ in range(200):
        now += source.choice([20, 33, 47, 160, 900])
        for camera in range(3):
            bench.add(camera, now + source.uniform(0, 3))
    assert bench.sizes == [3] * 200


def test_a_rhythm_that_changes_costs_nothing():
    bench, now = Bench(3), 1000.0
    for period in (33, 100, 21, 50):
        for _ in range(30):
            now += period
            for camera in range(3):
                bench.add(camera, now + camera)
    assert bench.sizes == [3] * 120


def test_statistics_tell_rate_drops_skew_and_age():
    now = 0

    def ahead():
        return now + 7 * SECOND  # the cameras' clock

    bench = Bench(3, stamp_clock=ahead)
    for frame_set in range(300):
        for camera in range(3):
            now = 40 * frame_set * MS + (5 + camera) * MS
            if camera < 2 or frame_set % 4:
                bench.add(camera, 7000 + 40 * frame_set + 3 * camera, at_ms=now / MS)
        bench.poll(40 * frame_set + 20)
    bench.poll(20_000)
    first, _, slow = (bench.statistics(camera) for camera in range(3))
    assert first.rate_hz(first.last_heard_ns) == pytest.approx(25)
    assert first.rate_hz(first.last_heard_ns + 2 * SECOND) == pytest.approx(0.5)
    assert slow.rate_hz(slow.last_heard_ns) == pytest.approx(0.75 * 25, rel=0.1)
    assert (first.missed, slow.missed) == (0, 75)
    assert (first.drop, slow.drop) == (0, 0.25)
    assert first.age_ns == pytest.approx(5 * MS)
    assert slow.age_ns == pytest.approx(1 * MS)
    assert first.skew_ns == pytest.approx(-3 * MS, rel=0.2)
    assert slow.skew_ns == pytest.approx(3 * MS, rel=0.2)
    assert bench.statistics(0).rate_hz(0) > 0


def test_a_camera_that_was_never_heard_has_no_rate():
    bench = Bench(2)
    assert bench.statistics(0).rate_hz(5 * SECOND) == 0
    bench.add(0, 1000)
    assert bench.statistics(0).rate_hz(5 * SECOND) == 0
    assert bench.statistics(0).age_ns is None


def test_it_composes_with_message_filters():
    message_filters = pytest.importorskip("message_filters", reason="message_filters is not installed")
    sources = [message_filters.SimpleFilter() for _ in range(2)]
    synchronizer, sets = Synchronizer(["a", "b"]), []
    synchronizer.connectInput(sources)
    synchronizer.registerCallback(sets.append)
    stamp = types.SimpleNamespace(sec=7, nanosec=5)
    message = types.SimpleNamespace(header=types.SimpleNamespace(stamp=stamp))
    for source in sources:
        source.signalMessage(message)
    assert [frame_set.messages for frame_set in sets] == [(message, message)]


def test_sets_of_many_time_lines_at_once():
    """One set pushes out another, which gives up a third: found by sending thousands at random."""
    bench = Bench(3, slop_s=0.015, max_wait_s=3)
    bench.add(0, 3_000_000, at_ms=0)  # a clock that is ahead
    bench.add(0, 1000, at_ms=1)
    bench.add(1, 1001, at_ms=2)
    for camera in range(3):
        bench.add(camera, 1100, at_ms=10 + camera)
    assert bench.sizes == [2, 3]
    assert bench.statistics(0).unmatched == 1


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_stamps_that_mean_nothing_break_nothing(seed):
    source = random.Random(seed)
    bench = Bench(4, slop_s=0.015, max_wait_s=source.choice([0.05, 3]))
    for step in range(300):
        stamp = source.choice([0, step, step, step, 5000 + step, 10**7, source.uniform(0, 10**6)])
        bench.add(source.randrange(4), stamp, at_ms=step)
        if source.random() < 0.3:
            bench.poll(step)
    bench.poll(10**9)
    for count in bench.synchronizer.statistics.values():
        assert count.received == count.used + count.late + count.duplicate + count.unmatched


def test_sources_take_turns_with_their_newest_items():
    newest = LatestOfEach()
    for source, item in (("a", 1), ("b", 2), ("a", 3)):
        newest.put(source, item)
    assert newest.take() == ("a", 3)
    newest.put("a", 4)
    assert newest.take() == ("b", 2) and newest.take() == ("a", 4)
    threading.Timer(0.05, newest.close).start()
    assert newest.take() is None
    newest.put("a", 5)
    assert newest.take() is None


def test_the_newest_item_replaces_the_one_that_was_not_taken():
    slot = LatestSlot()
    for item in ("first", "second", "third"):
        slot.put(item)
    assert slot.take() == "third"
    assert slot.replaced == 2


def test_a_worker_waits_for_items_until_the_slot_is_closed():
    slot = LatestSlot()
    taken = []
    first = threading.Event()

    def work():
        while (item := slot.take()) is not None:
            taken.append(item)
            first.set()

    worker = threading.Thread(target=work)
    worker.start()
    slot.put("item")
    assert first.wait(10)
    slot.close()
    worker.join(10)
    assert not worker.is_alive()
    assert taken == ["item"]
