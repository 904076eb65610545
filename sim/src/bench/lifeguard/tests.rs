use super::*;

#[test]
fn members_are_blocked_within_the_run() {
    for point in points() {
        let cycle = point.blocked_ms + point.between_ms;
        let last = (times(point) - 1) * cycle + point.blocked_ms;
        assert!(times(point) >= 1, "{point:?}");
        assert!(last <= 120_000, "{point:?}: {last}");
        assert!(last + cycle > 120_000, "{point:?}: once more would fit");
        assert!(scenario(&text(point)).is_ok(), "{point:?}");
    }
}

#[test]
fn aims_are_about_sums_and_about_points_with_few() {
    let point = Point {
        blocked: 4,
        blocked_ms: 128,
        between_ms: 16,
        timers_first: true,
    };
    let by_anybody = |by_anybody| Pairs {
        by_anybody,
        by_healthy: 0,
    };
    let counted = |ours, theirs| Counted {
        point,
        ours: by_anybody(ours),
        theirs: by_anybody(theirs),
    };
    let rows_of = |counted: &[Counted]| {
        let mut bench = Bench::new(false, None);
        rows(&mut bench, counted);
        let aims = bench
            .table
            .rows
            .into_iter()
            .filter(|row| !row.aim.is_empty());
        aims.map(|row| (row.value, row.aim_met)).collect::<Vec<_>>()
    };
    let good = rows_of(&[counted(1, 10), counted(0, 9)]);
    assert_eq!(good, [(1.0 / 19.0, Some(true)), (0.0, Some(true))]);
    let bad = rows_of(&[counted(2, 10), counted(1, 9)]);
    assert_eq!(bad, [(3.0 / 19.0, Some(false)), (1.0, Some(false))]);
    // Too few to compare: only the points count.
    assert_eq!(rows_of(&[counted(0, 9)]), [(0.0, Some(true))]);
    assert_eq!(rows_of(&[counted(1, 0)]), [(1.0, Some(false))]);
}

#[test]
fn the_blocked_count_as_those_who_err_but_not_as_those_who_are_wronged() {
    let [healthy, other, blocked] = [NodeId(1), NodeId(2), NodeId(3)];
    let pairs = BTreeSet::from([(healthy, blocked), (blocked, healthy), (healthy, other)]);
    let counted = Pairs {
        by_anybody: 2,
        by_healthy: 1,
    };
    assert_eq!(count(&pairs, &BTreeSet::from([blocked])), counted);
}

/// One member is blocked for half a minute: both sides find it dead, nearly everywhere, and that is not counted.
#[test]
fn the_dead_of_both_sides_are_seen() -> Result<()> {
    for timers_first in [false, true] {
        let point = Point {
            blocked: 1,
            blocked_ms: 32_768,
            between_ms: 16_384,
            timers_first,
        };
        let (blocked, ours, theirs) = deaths(point, 1)?;
        for deaths in [ours, theirs] {
            let of_the_blocked = deaths.iter().filter(|(_, of)| blocked.contains(of));
            assert!(of_the_blocked.count() > 100, "{deaths:?}");
            assert_eq!(count(&deaths, &blocked), Pairs::default());
        }
    }
    Ok(())
}
