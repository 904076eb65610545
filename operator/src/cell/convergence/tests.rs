#![allow(clippy::unwrap_used)]

use std::time::Duration;

use slotmesh_mesh::convergence::Counts;
use slotmesh_mesh::time::Instant;

use super::*;

fn told(members: usize, ages_ms: &[u64]) -> Convergence {
    let mut counts = Counts::default();
    for ms in ages_ms {
        counts.add(&Counts::one(Duration::from_millis(*ms)));
    }
    Convergence {
        epoch: 101,
        members,
        published: Instant::ZERO,
        counts,
    }
}

#[test]
fn shares_become_times_and_what_is_missing_is_counted() {
    let metrics = Metrics::new().unwrap();
    let ms = |ms| Some(Duration::from_millis(ms));
    let whole = summary(&told(4, &[1, 1, 4, 30]));
    assert_eq!(
        (whole.half, whole.ninety_nine_percent, whole.all),
        (ms(1), ms(50), ms(50))
    );
    observe(&metrics, &whole);
    assert_eq!(metrics.maps_not_applied.get(), 0);
    let part = summary(&told(4, &[1, 1, 4]));
    assert_eq!((part.applied, part.half, part.all), (3, ms(1), None));
    observe(&metrics, &part);
    assert_eq!(metrics.maps_not_applied.get(), 1);
    let count = |share: &str| {
        let histogram = metrics.convergence_seconds.with_label_values(&[share]);
        histogram.get_sample_count()
    };
    assert_eq!(Metrics::SHARES.map(count), [2, 1, 1]);
}
