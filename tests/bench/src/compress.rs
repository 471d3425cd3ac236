//! What the content codings cost and save: a 20 kB list of records, each coding at each quality, made new for each body
//! and, where that is possible, with an encoder that is kept.

use std::{
    hint::black_box,
    io::Write,
    time::{Duration, Instant},
};

use anyhow::Result;
use brotli::enc::BrotliEncoderParams;
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use crate::{
    Common,
    report::{Section, cell, note},
};

/// Size of the body.
const BODY_BYTES: usize = 20_000;
/// Base-2 logarithm of the window, as the server has it.
const WINDOW: i32 = 18;
/// Bodies of one measurement; the fastest of `ROUNDS` measurements counts.
const BODIES: usize = 20;
const ROUNDS: usize = 15;

/// Runs the benchmark.
pub(crate) fn run(_: &Common) -> Result<Section> {
    let body = body();
    note(&format!("compress: a body of {} bytes", body.len()));
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    let mut add = |name: String, coded: &[u8], time: Duration| {
        let micros = time.as_secs_f64() * 1e6;
        let share = 100.0 * coded.len() as f64 / body.len() as f64;
        let saved = (body.len() - coded.len()) as f64 / micros;
        figures.push(json!({"coding": name, "bytes": coded.len(), "micros": micros}));
        rows.push(vec![
            name,
            coded.len().to_string(),
            cell(share, 1),
            cell(micros, 0),
            cell(saved, 1),
        ]);
    };
    for quality in [0, 1, 2, 3, 4, 5, 6, 7, 9] {
        let (coded, time) = measure(|| brotli(&body, quality));
        add(format!("br {quality}"), &coded, time);
    }
    for level in [1, 2, 3, 4, 5, 6, 9] {
        let (coded, time) = measure(|| gzip(&body, level));
        add(format!("gzip {level}"), &coded, time);
    }
    for level in [1, 2, 3, 4, 5, 6, 9] {
        let (coded, time) = measure(|| zstd::bulk::compress(&body, level).unwrap_or_default());
        add(format!("zstd {level}"), &coded, time);
        let mut kept = zstd::bulk::Compressor::new(level)?;
        let (coded, time) = measure(|| kept.compress(&body).unwrap_or_default());
        add(format!("zstd {level}, kept"), &coded, time);
    }
    Ok(Section {
        title: format!("Content codings of a JSON list of {} bytes", body.len()),
        columns: &["coding", "bytes", "% of plain", "CPU µs", "bytes saved per µs"],
        rows,
        goals: Vec::new(),
        figures: json!(figures),
    })
}

fn brotli(body: &[u8], quality: i32) -> Vec<u8> {
    let parameters = BrotliEncoderParams {
        quality,
        lgwin: WINDOW,
        size_hint: body.len(),
        ..BrotliEncoderParams::default()
    };
    let mut out = Vec::with_capacity(body.len() / 3);
    // writing to a vector cannot fail
    let _ = brotli::BrotliCompress(&mut &*body, &mut out, &parameters);
    out
}

fn gzip(body: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::new(level));
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// What one call gives, and the time that it takes.
fn measure(mut encode: impl FnMut() -> Vec<u8>) -> (Vec<u8>, Duration) {
    let coded = encode();
    let round = |_| {
        let begun = Instant::now();
        for _ in 0..BODIES {
            black_box(encode());
        }
        begun.elapsed() / BODIES as u32
    };
    (coded, (0..ROUNDS).map(round).min().unwrap_or_default())
}

/// A list of records like those of the cities example; the same at each run.
fn body() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    const SYLLABLES: [&str; 16] = [
        "ber", "lin", "san", "ta", "ham", "burg", "vil", "le", "new", "ton", "port", "mar", "ko",
        "dra", "gor", "sk",
    ];
    const COUNTRIES: [&str; 6] = ["DE", "US", "FR", "IN", "CN", "BR"];
    const ZONES: [&str; 3] = ["Europe/Berlin", "America/Chicago", "Asia/Kolkata"];
    let mut records = Vec::new();
    while serde_json::to_string(&records).is_ok_and(|text| text.len() < BODY_BYTES) {
        let syllables = 2 + random(3);
        let name: String =
            (0..syllables).map(|_| SYLLABLES[random(SYLLABLES.len() as u64) as usize]).collect();
        records.push(json!({
            "id": (2_000_000 + random(9_000_000)).to_string(),
            "name": name,
            "country": COUNTRIES[random(6) as usize],
            "population": random(2_000_000),
            "latitude": random(180_000_000) as f64 / 1e6 - 90.0,
            "longitude": random(360_000_000) as f64 / 1e6 - 180.0,
            "timezone": ZONES[random(3) as usize],
            "elevation": random(3000),
        }));
    }
    serde_json::to_vec(&records).unwrap_or_default()
}
