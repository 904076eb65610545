//! What many measured figures come to.

/// The figures, smallest first.
pub(super) fn sorted(figures: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// The upper one of two in the middle.
pub(super) fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The smallest figure that 99 of 100 do not exceed: of fewer than 100 the largest.
pub(super) fn percentile_99(sorted: &[f64]) -> f64 {
    let beyond = sorted.len() / 100;
    let place = sorted.len().saturating_sub(beyond + 1);
    sorted.get(place).copied().unwrap_or_default()
}

pub(super) fn largest(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}

pub(super) fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / count(figures.len()).max(1.0)
}

/// A number of things, as a figure.
pub(super) fn count(number: impl TryInto<u32>) -> f64 {
    f64::from(number.try_into().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_that_was_measured() {
        assert!((median(&[1.0, 2.0, 3.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[1.0, 3.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }

    #[test]
    fn one_of_a_hundred_may_exceed_the_99th_percentile() {
        let hundred = sorted((1..=100).map(f64::from));
        assert!((percentile_99(&hundred) - 99.0).abs() < f64::EPSILON);
        let fewer = sorted([3.0, 1.0, 2.0]);
        assert!((percentile_99(&fewer) - 3.0).abs() < f64::EPSILON);
        assert!(percentile_99(&[]).abs() < f64::EPSILON);
    }
}
