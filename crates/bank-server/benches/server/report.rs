//! The results as tables for people, and as JSON.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    thread,
};

use bank_store::clock::Timekeeper;
use comfy_table::{CellAlignment, Table, TableStyle};
use serde_json::{Value, json};

use crate::{
    Effort,
    cases::Stand,
    meter::Sample,
    results::{Bound, Claim, Measured, Results, Summary},
};

/// The tables: every measurement, the comparison with another build, and what must hold.
pub(crate) fn tables(results: &Results, earlier: Option<&Results>, claims: &[Claim]) -> String {
    let mut text = measurements(results);
    if let Some(earlier) = earlier {
        let _ = write!(text, "\n\n{}", comparison(results, earlier));
    }
    if claims.iter().any(|claim| claim.measured.is_some()) {
        let _ = write!(text, "\n\n{}", must_hold(claims));
    }
    text
}

fn measurements(results: &Results) -> String {
    let titles = [
        "LOAD",
        "ON",
        "A SECOND",
        "ROUNDS",
        "/ NO-OP",
        "P50 US",
        "P99 US",
        "P99.9 US",
        "SERVER CPU US",
        "REDIS CPU US",
    ];
    let mut table = Table::new();
    table.set_header(titles);
    let mut sorted: Vec<&Measured> = results.measured.iter().collect();
    // Side by side: the same load on each stand.
    let first = |case: &str| results.measured.iter().position(|measured| measured.case == case);
    sorted.sort_by_key(|measured| first(measured.case));
    for measured in sorted {
        let of = |figure: fn(&Sample) -> Option<f64>| measured.summary(figure);
        let micros =
            |summary: Option<Summary>| summary.map_or(String::new(), |it| format!("{:.1}", it.median));
        let speed = of(|sample| Some(sample.per_second));
        let baseline = (Stand::Noop, measured.case);
        let ratio = results.ratio((measured.stand, measured.case), baseline, |sample| sample.per_second);
        table.add_row([
            measured.case.to_owned(),
            measured.stand.name().to_owned(),
            speed.map_or("failed".to_owned(), |it| grouped(it.median)),
            speed.map_or(String::new(), |it| format!("{} - {}", grouped(it.min), grouped(it.max))),
            ratio.map_or(String::new(), |it| format!("{:.2}", it.median)),
            micros(of(|sample| Some(sample.p50_us))),
            micros(of(|sample| Some(sample.p99_us))),
            micros(of(|sample| Some(sample.p999_us))),
            micros(of(|sample| Some(sample.server_cpu_us).filter(|&cpu| cpu > 0.0))),
            micros(of(|sample| sample.redis_cpu_us)),
        ]);
    }
    plain(table, 2)
}

/// Every figure as a multiple of that of the other build in the same round.
fn comparison(results: &Results, earlier: &Results) -> String {
    let mut table = Table::new();
    table.set_header(["LOAD", "ON", "A SECOND / OTHER", "ROUNDS", "P50 / OTHER", "CPU / OTHER"]);
    for measured in &results.measured {
        let Some(other) = earlier.get(measured.stand, measured.case) else { continue };
        let over = |of: fn(&Sample) -> f64| measured.over(other, of);
        let two = |summary: Option<Summary>| summary.map_or(String::new(), |it| format!("{:.2}", it.median));
        let speed = over(|sample| sample.per_second);
        table.add_row([
            measured.case.to_owned(),
            measured.stand.name().to_owned(),
            two(speed),
            speed.map_or(String::new(), |it| format!("{:.2} - {:.2}", it.min, it.max)),
            two(over(|sample| sample.p50_us)),
            two(over(Sample::cpu_us)),
        ]);
    }
    plain(table, 2)
}

fn must_hold(claims: &[Claim]) -> String {
    let mut table = Table::new();
    table.set_header(["MUST HOLD", "BOUND", "MEASURED", "ROUNDS", "HOLDS"]);
    for claim in claims {
        let figure = |value: f64| if value < 1_000.0 { format!("{value:.2}") } else { grouped(value) };
        let bound = match claim.bound {
            Bound::AtLeast(bound) => format!(">= {}", figure(bound)),
            Bound::AtMost(bound) => format!("<= {}", figure(bound)),
        };
        let measured = claim.measured;
        table.add_row([
            claim.what.clone(),
            bound,
            measured.map_or("not measured".to_owned(), |it| figure(it.median)),
            measured.map_or(String::new(), |it| format!("{} - {}", figure(it.min), figure(it.max))),
            claim.holds().map_or("", |holds| if holds { "yes" } else { "no" }).to_owned(),
        ]);
    }
    plain(table, 1)
}

/// Without lines; the first columns are text, the others numbers.
fn plain(mut table: Table, text_columns: usize) -> String {
    table.load_style(TableStyle::new());
    for (index, column) in table.column_iter_mut().enumerate() {
        let alignment = if index < text_columns { CellAlignment::Left } else { CellAlignment::Right };
        column.set_padding((0, 2)).set_cell_alignment(alignment);
    }
    table.trim_fmt()
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes all results to a file, and prints its path.
pub(crate) fn write(
    results: &Results,
    earlier: Option<&Results>,
    claims: &[Claim],
    effort: &Effort,
    directory: &Path,
) -> anyhow::Result<PathBuf> {
    let measured = |measured: &Measured| {
        json!({
            "load": measured.case,
            "on": measured.stand.name(),
            "per_second": measured.summary(|sample| Some(sample.per_second)),
            "p50_us": measured.summary(|sample| Some(sample.p50_us)),
            "server_cpu_us": measured.summary(|sample| Some(sample.server_cpu_us)),
            "redis_cpu_us": measured.summary(|sample| sample.redis_cpu_us),
            "of_noop": results.ratio((measured.stand, measured.case), (Stand::Noop, measured.case), |sample| {
                sample.per_second
            }),
            "rounds": measured.rounds,
            "other_build": earlier.and_then(|it| it.get(measured.stand, measured.case)).map(|it| &it.rounds),
        })
    };
    let claim = |claim: &Claim| {
        let mut value = serde_json::to_value(claim).unwrap_or_default();
        value["holds"] = claim.holds().into();
        value
    };
    let now_unix_s = Timekeeper::default().estimate_seconds();
    let document = json!({
        "ended_unix_s": now_unix_s,
        "machine": machine(),
        "rounds": effort.rounds,
        "warm_up_ms": effort.timing.warm_up.as_millis() as u64,
        "duration_ms": effort.timing.duration.as_millis() as u64,
        "measurements": results.measured.iter().map(measured).collect::<Vec<_>>(),
        "must_hold": claims.iter().map(claim).collect::<Vec<_>>(),
    });
    let path = directory.join("server.json");
    fs::write(&path, format!("{document:#}\n"))?;
    Ok(path)
}

/// The machine and the builds of the figures.
fn machine() -> Value {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    json!({
        "processors": thread::available_parallelism().map(usize::from).ok(),
        "processor": model.trim_start_matches(['\t', ' ', ':']),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_average": read("/proc/loadavg").trim(),
    })
}
