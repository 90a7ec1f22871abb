//! The plots: for each figure a panel for each setting, in it a line for each case.

use std::fs;
use std::path::Path;

use indexmap::{IndexMap, IndexSet};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Result;
use crate::report::{self, Group, Row};

/// Colours that people who see few of them can tell apart.
const COLOURS: [RGBColor; 6] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// Those of the floors.
const GREYS: [RGBColor; 3] = [
    RGBColor(0, 0, 0),
    RGBColor(120, 120, 120),
    RGBColor(180, 180, 180),
];

const COLUMNS: usize = 3;
const WIDTH: u32 = 1_000;
const PANEL_HEIGHT: u32 = 220;
const LINE: u32 = 20;
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws every group whose JSON is in a directory.
pub(crate) fn redraw(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            draw(&file.with_extension("svg"), &report::read(&file)?)?;
        }
    }
    Ok(())
}

/// Draws a group into a file.
pub(crate) fn draw(file: &Path, group: &Group) -> Result<()> {
    let panels = panels(group);
    let colours = colours(group);
    let columns = panels.len().clamp(1, COLUMNS);
    let rows = panels.len().div_ceil(columns);
    let head = LINE * (u32::try_from(colours.len())? + 2);
    let block = PANEL_HEIGHT * u32::try_from(rows)?;
    let height = head + block * u32::try_from(group.drawn.len())?;
    let picture = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    picture.fill(&WHITE)?;
    let (top, mut rest) = picture.split_vertically(head);
    legend(&top, group, &colours)?;
    for figure in &group.drawn {
        let (here, below) = rest.split_vertically(block);
        rest = below;
        let scale = Scale::of(group, figure);
        let areas = here.split_evenly((rows, columns));
        for (area, (title, rows)) in areas.iter().zip(&panels) {
            let title = match title.as_str() {
                "" => figure.clone(),
                title => format!("{figure}, {title}"),
            };
            let lines = lines(rows, &group.axis, figure);
            draw_panel(area, &title, &group.axis, &scale, &lines, &colours)?;
        }
    }
    picture.present()?;
    Ok(())
}

/// The rows of each setting, without the one that is drawn from left to right.
fn panels(group: &Group) -> IndexMap<String, Vec<&Row>> {
    let mut panels = IndexMap::<String, Vec<&Row>>::new();
    for row in &group.rows {
        let others = row.setting.iter().filter(|(name, _)| **name != group.axis);
        let others: Vec<String> = others
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        panels.entry(others.join(", ")).or_default().push(row);
    }
    panels
}

fn colours(group: &Group) -> IndexMap<&str, RGBColor> {
    let names = |floors: bool| {
        let rows = group.rows.iter().filter(move |row| row.is_floor == floors);
        rows.map(|row| row.case.as_str()).collect::<IndexSet<_>>()
    };
    let floors = names(true).into_iter().zip(GREYS.into_iter().cycle());
    floors
        .chain(names(false).into_iter().zip(COLOURS.into_iter().cycle()))
        .collect()
}

fn legend(area: &Area<'_>, group: &Group, colours: &IndexMap<&str, RGBColor>) -> Result<()> {
    let title = format!("{}: {}", group.name, group.question);
    area.draw(&Text::new(title, (10, 8), (FONT, 14)))?;
    for (place, (case, colour)) in (1..).zip(colours) {
        let y = place * i32::try_from(LINE)? + 15;
        area.draw(&PathElement::new(
            [(12, y), (36, y)],
            colour.stroke_width(2),
        ))?;
        area.draw(&Text::new((*case).to_owned(), (44, y - 7), (FONT, 13)))?;
    }
    Ok(())
}

/// A line for each case: the values of the axis, and the figures.
fn lines<'r>(rows: &[&'r Row], axis: &str, figure: &str) -> IndexMap<&'r str, Vec<(&'r str, f64)>> {
    let mut lines = IndexMap::<&str, Vec<_>>::new();
    for row in rows {
        if let (Some(at), Some(value)) = (row.setting.get(axis), row.figures.get(figure)) {
            lines
                .entry(&row.case)
                .or_default()
                .push((at.as_str(), *value));
        }
    }
    lines
}

/// How figures become heights, alike in all panels of a figure.
struct Scale {
    /// Where the largest is more than a hundred times the smallest.
    logarithmic: bool,
    least: f64,
    most: f64,
}

impl Scale {
    fn of(group: &Group, figure: &str) -> Self {
        let figures = group.rows.iter().filter_map(|row| row.figures.get(figure));
        let (least, most) = figures
            .filter(|figure| **figure > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(least, most), figure| {
                (least.min(*figure), most.max(*figure))
            });
        let logarithmic = most > least * 100.0;
        if logarithmic {
            Self {
                logarithmic,
                least: least.log10().floor(),
                most: most.log10().ceil(),
            }
        } else {
            Self {
                logarithmic,
                least: 0.0,
                most: most.max(f64::MIN_POSITIVE) * 1.1,
            }
        }
    }

    fn height(&self, figure: f64) -> f64 {
        if self.logarithmic {
            figure.log10().max(self.least)
        } else {
            figure
        }
    }

    fn label(&self, height: f64) -> String {
        let label = report::short(if self.logarithmic {
            10_f64.powf(height)
        } else {
            height
        });
        match label.split_once('.') {
            Some((whole, "0" | "00")) => whole.to_owned(),
            _ => label,
        }
    }
}

fn draw_panel(
    area: &Area<'_>,
    title: &str,
    axis: &str,
    scale: &Scale,
    lines: &IndexMap<&str, Vec<(&str, f64)>>,
    colours: &IndexMap<&str, RGBColor>,
) -> Result<()> {
    // The values of the axis stand at equal distances.
    let values: IndexSet<&str> = lines.values().flatten().map(|(at, _)| *at).collect();
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption(title, (FONT, 13))
        .x_label_area_size(34)
        .y_label_area_size(48)
        .build_cartesian_2d(
            (0..values.len().saturating_sub(1)).into_segmented(),
            scale.least..scale.most,
        )?;
    let value_at = |place: &SegmentValue<usize>| match place {
        SegmentValue::CenterOf(place) => values.get_index(*place).map_or("", |value| value),
        SegmentValue::Exact(_) | SegmentValue::Last => "",
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc(axis)
        .x_labels(values.len())
        .x_label_formatter(&|place| value_at(place).to_owned())
        .y_labels(5)
        .y_label_formatter(&|height| scale.label(*height))
        .label_style((FONT, 12))
        .draw()?;
    for (case, points) in lines {
        let colour = colours.get(case).copied().unwrap_or(BLACK);
        let points = points.iter().filter_map(|(at, figure)| {
            Some((
                SegmentValue::CenterOf(values.get_index_of(at)?),
                scale.height(*figure),
            ))
        });
        let points: Vec<_> = points.collect();
        chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
        let dots = points
            .into_iter()
            .map(|point| Circle::new(point, 3, colour.filled()));
        chart.draw_series(dots)?;
    }
    Ok(())
}
