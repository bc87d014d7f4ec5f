//! Both distributions of latency in one drawing, as SVG.

use anyhow::{Context, anyhow};
use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    prelude::{AreaSeries, IntoDrawingArea, IntoLogRange, PathElement, RGBColor, SVGBackend},
    style::{BLACK, Color, ShapeStyle, WHITE},
};

use super::{measurement::Measurement, table::time};

const SIZE: (u32, u32) = (860, 320);

/// Of the baseline and the candidate. Both are told apart by people who see no red or green.
pub(super) const COLORS: [RGBColor; 2] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0)];

/// How many parts the range of latencies is divided into, at most; with few answers fewer, or there would be more gaps
/// than bars.
const MAX_BINS: u64 = 80;

/// Draws how the latencies of each side are distributed; none without an answer.
pub(super) fn draw(sides: &[(&str, &Measurement)]) -> anyhow::Result<Option<String>> {
    let Some((shortest, longest)) = range(sides) else { return Ok(None) };
    let fewest = sides.iter().map(|(_, side)| side.answered()).min().unwrap_or_default();
    let bins = fewest.isqrt().clamp(4, MAX_BINS);
    let edges: Vec<f64> =
        (0..=bins).map(|bin| shortest * (longest / shortest).powf(bin as f64 / bins as f64)).collect();
    let shares: Vec<_> = sides.iter().map(|(name, side)| (*name, shares(side, &edges))).collect();
    let highest = shares.iter().flat_map(|(_, shares)| shares).fold(0.0_f64, |most, share| most.max(*share));
    let mut svg = String::new();
    plot(&mut svg, &edges, &shares, highest)
        .map_err(|error| anyhow!("{error}"))
        .context("can't draw the plot")?;
    Ok(Some(svg))
}

/// From the fastest answer to all but the slowest thousandth, which would press the rest together.
fn range(sides: &[(&str, &Measurement)]) -> Option<(f64, f64)> {
    let of = |quantile| sides.iter().filter_map(move |(_, side)| side.latency(quantile));
    let shortest = of(0.0).reduce(f64::min)?;
    let longest = of(0.999).reduce(f64::max)?;
    Some((shortest.max(0.1), longest.max(shortest * 2.0)))
}

/// The share of the answers between each edge and the next, in percent.
fn shares(side: &Measurement, edges: &[f64]) -> Vec<f64> {
    edges.windows(2).map(|edge| 100.0 * side.share_between(edge[0], edge[1])).collect()
}

fn plot(
    svg: &mut String,
    edges: &[f64],
    sides: &[(&str, Vec<f64>)],
    highest: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    // Labels of every tick would overlap, but in a narrow range there may be none at a round latency.
    let is_narrow = edges[edges.len() - 1] < 5.0 * edges[0];
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d((edges[0]..edges[edges.len() - 1]).log_scale(), 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .label_style(("sans-serif", 13))
        .light_line_style(ShapeStyle::from(BLACK.mix(0.06)))
        .x_desc("latency")
        .x_label_formatter(&|micros| {
            if is_narrow || is_round(*micros) { time(*micros) } else { String::new() }
        })
        .y_desc("share of answers")
        .y_labels(6)
        .y_label_formatter(&|percent| format!("{percent:.1} %"))
        .draw()?;
    for ((name, shares), color) in sides.iter().zip(COLORS) {
        let points = edges.iter().copied().zip(shares.iter().copied());
        chart
            .draw_series(AreaSeries::new(points, 0.0, color.mix(0.25)).border_style(color.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 13))
        .position(SeriesLabelPosition::UpperRight)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    Ok(())
}

/// Whether a latency is 1, 2 or 5 of a power of ten.
fn is_round(micros: f64) -> bool {
    let leading = micros / 10.0_f64.powf(micros.log10().floor());
    [1.0, 2.0, 5.0, 10.0].iter().any(|round| (leading - round).abs() < 1e-6)
}
