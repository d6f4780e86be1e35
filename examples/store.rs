//! Looks after a file of the durable store: export, import, backup, compact.
//!
//! Run with `cargo run --features file --example store -- export notes.ifmatch > notes.jsonl`.

use std::error::Error;
use std::io;

use ifmatch::File;

const USAGE: &str = "store export FILE > LINES | import FILE < LINES | backup FILE COPY | compact FILE";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["export", file] => {
            let count = existing(file)?.export(io::BufWriter::new(io::stdout().lock()))?;
            eprintln!("{count} resources written");
        }
        ["import", file] => {
            let count = File::import(file, io::stdin().lock())?;
            eprintln!("{count} resources read");
        }
        ["backup", file, copy] => existing(file)?.backup(copy)?,
        ["compact", file] => {
            let compacted = existing(file)?.compact().wait()?;
            eprintln!("{}", if compacted { "compacted" } else { "there was nothing to give back" });
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// Opens a file that is there: to open is otherwise also to create.
fn existing(file: &str) -> Result<File, Box<dyn Error>> {
    std::fs::metadata(file)?;
    Ok(File::open(file)?)
}
