//! `lethe-image list`: the machines of this user.

use super::record::Record;
use super::store::Store;

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lethe-image list\n  lethe-image list --json | jq -r '.[] | select(.state == \"ready\") | .url'"
)]
pub struct Args {
    /// All that is known of each machine, as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the machines.
///
/// # Errors
/// If the directory of machines cannot be read.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let store = Store::of_user()?;
    let mut records = Vec::new();
    for name in store.names()? {
        match store.record(&name) {
            Ok(record) => records.push(record),
            // A machine that is being made or deleted at this moment has no record.
            Err(super::Error::File { .. } | super::Error::Unknown { .. }) => {}
            Err(error) => eprintln!("warning: {error}"),
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&records)?);
    } else {
        print!("{}", table(&records));
    }
    Ok(())
}

/// A table whose columns are as wide as their widest entry.
fn table(records: &[Record]) -> String {
    let mut rows = vec![["NAME", "STATE", "URL", "AGE", "IMAGE", "PIN"].map(str::to_owned)];
    for record in records {
        rows.push([
            record.name.to_string(),
            record.state.as_str().to_owned(),
            record.url.clone(),
            age(record.age_s()),
            record.image_sha256.chars().take(12).collect(),
            record.spki.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The two largest units of an age.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::record::example;

    #[test]
    fn columns_line_up_under_their_heads() {
        let text = table(&[example("a"), example("a-longer-name")]);
        let column = text.lines().next().unwrap().find("STATE").unwrap();
        for line in text.lines().skip(1) {
            assert_eq!(line.find("ready"), Some(column), "{text}");
            assert!(line.contains("https://127.0.0.1:18443") && line.contains("cdcdcdcdcdcd  sha256:"), "{text}");
        }
    }

    #[test]
    fn ages_have_two_units() {
        assert_eq!([59, 60, 3_725, 90_061].map(age), ["59s", "1m00s", "1h02m", "1d01h"]);
    }
}
