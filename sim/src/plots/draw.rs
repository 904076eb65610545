//! One series as a picture.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use slotmesh_report::series::Series;

const SIZE: (u32, u32) = (860, 480);
/// Lines with more points are drawn without dots.
const DOTS_MAX: usize = 40;
/// Smallest x of a logarithmic axis: nothing that is measured is smaller.
const LOG_MIN: f64 = 1e-9;
/// Room above the highest point.
const HEADROOM: f64 = 1.1;

/// An SVG document. The x axis is logarithmic if `log_x`, and if no x is below [`LOG_MIN`].
///
/// # Errors
/// When the library cannot draw it.
pub(super) fn svg(series: &Series, log_x: bool) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let points = || series.lines.iter().flat_map(|line| &line.points);
        let (x, y) = (span(points().map(|p| p.0)), span(points().map(|p| p.1)));
        let y = with_zero(&y);
        if log_x && x.start >= LOG_MIN {
            let decades = x.start.log10().floor()..above_decade(x.end);
            let x = 10_f64.powf(decades.start)..10_f64.powf(decades.end);
            chart(&area, series, x.log_scale(), y)?;
        } else {
            chart(&area, series, with_zero(&x), y)?;
        }
        area.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(text)
}

/// Lowest and highest; of nothing 0 to 0.
fn span(values: impl Iterator<Item = f64>) -> Range<f64> {
    let bounds = values.fold(None, |bounds: Option<(f64, f64)>, value| {
        let (low, high) = bounds.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    });
    let (low, high) = bounds.unwrap_or_default();
    low..high
}

/// An axis that shows zero, and is never empty.
fn with_zero(span: &Range<f64>) -> Range<f64> {
    let (start, end) = (span.start.min(0.0), span.end.max(0.0) * HEADROOM);
    let is_empty = end - start < LOG_MIN;
    start..if is_empty { 1.0 } else { end }
}

fn above_decade(value: f64) -> f64 {
    value.log10().floor() + 1.0
}

fn chart<X>(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    series: &Series,
    x: X,
    y: Range<f64>,
) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let drawn = || -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        // Pages are shown on dark grounds, too.
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .caption(&series.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(&series.unit_x)
            .y_desc(&series.unit_y)
            .x_label_formatter(&|x| number(*x))
            .y_label_formatter(&|y| number(*y))
            .draw()?;
        for (index, line) in series.lines.iter().enumerate() {
            let style = Palette99::pick(index).stroke_width(2);
            let points = || line.points.iter().copied();
            chart
                .draw_series(LineSeries::new(points(), style))?
                .label(&line.label)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
            if line.points.len() <= DOTS_MAX {
                let dots = points().map(|point| Circle::new(point, 3, style.filled()));
                chart.draw_series(dots)?;
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
    };
    drawn().map_err(|error| anyhow!("{error}"))
}

/// As short as it can be with three places.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0" } else { short }.to_owned()
}
