use anyhow::Result;
use clap::ValueEnum;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table as Grid};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use veilwatch::output::{fit, plain};
use veilwatch::tables::{Loader, Row, load, number, of_number, rows};
use veilwatch_core::tables::Table;

/// Subcommands of `veilwatch tables`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// List the entries of all tables, or of one.
    List {
        /// One of ether, ip, tcp, udp, port, files, warn, purpose.
        #[arg(value_parser = table)]
        table: Option<Table>,
        #[command(flatten)]
        how: How,
    },
    /// Show what the tables say of a number, a name or an id.
    Show {
        /// A number such as 443 or 0x0800, a name such as https, an id of FILES, WARN or PURPOSE.
        what: String,
        #[command(flatten)]
        how: How,
    },
    /// Check tables over those in the box: mistakes, and entries that replace or hide others.
    Check {
        /// Files and folders to check; by default the folders of the configuration.
        paths: Vec<PathBuf>,
        /// Configuration whose folders are read first.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// What both listings share.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// Configuration whose folders are read after the tables in the box.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to write it; by default a table on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON object a line.
    Jsonl,
}

/// A table as one types it.
fn table(name: &str) -> Result<Table, String> {
    Table::from_name(&name.to_ascii_lowercase()).ok_or_else(|| {
        let names: Vec<&str> = Table::ALL.into_iter().map(Table::name).collect();
        format!("the tables are {}", names.join(", "))
    })
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match args {
        Args::List { table, how } => {
            let tables = load(&super::prepare(how.config.as_deref())?.0.tables)?;
            let asked: Vec<Table> = table.map_or(Table::ALL.to_vec(), |table| vec![table]);
            write(how, &rows(&tables).filter(|row| asked.contains(&row.table)).collect::<Vec<_>>())?;
            Ok(ExitCode::SUCCESS)
        }
        Args::Show { what, how } => {
            let tables = load(&super::prepare(how.config.as_deref())?.0.tables)?;
            let found: Vec<Row<'_>> = match number(what) {
                Some(number) => of_number(&tables, number),
                None => rows(&tables).filter(|row| row.is_called(what)).collect(),
            };
            if found.is_empty() {
                super::complain(&format!("no table has an entry for `{what}`"));
                return Ok(ExitCode::from(super::FAILED));
            }
            write(how, &found)?;
            Ok(ExitCode::SUCCESS)
        }
        Args::Check { paths, config } => check(paths, config.as_ref()),
    }
}

fn check(paths: &[PathBuf], config: Option<&PathBuf>) -> Result<ExitCode> {
    let mut loader = Loader::new();
    loader.builtin();
    let boxed = loader.files().len();
    loader.configured(&super::prepare(config.map(PathBuf::as_path))?.0.tables);
    paths.iter().for_each(|path| loader.path(path));
    let files = loader.files().to_vec();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let in_the_box: usize = files.iter().take(boxed).map(|file| file.entries).sum();
    writeln!(out, "in the box: {in_the_box} entries")?;
    for file in files.iter().skip(boxed) {
        let state = match file.errors {
            0 => "good".to_owned(),
            1 => "1 mistake".to_owned(),
            many => format!("{many} mistakes"),
        };
        writeln!(out, "{}: {state}; {} entries", plain(&file.file), file.entries)?;
    }
    match loader.finish() {
        Ok(tables) => {
            for conflict in tables.conflicts() {
                writeln!(out, "{}", plain(&conflict.to_string()))?;
            }
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) => {
            out.flush()?;
            mistakes.errors.iter().for_each(|error| super::complain(error));
            if mistakes.more > 0 {
                super::complain(&format!("{} more", mistakes.more));
            }
            Ok(ExitCode::from(super::FAILED))
        }
    }
}

fn write(how: &How, rows: &[Row<'_>]) -> Result<()> {
    let terminal = std::io::stdout().is_terminal();
    let mut out = BufWriter::new(std::io::stdout().lock());
    if how.format.unwrap_or(if terminal { Format::Table } else { Format::Jsonl }) == Format::Jsonl {
        for row in rows {
            writeln!(out, "{}", row.json())?;
        }
    } else {
        for table in Table::ALL {
            let own: Vec<&Row<'_>> = rows.iter().filter(|row| row.table == table).collect();
            if own.is_empty() {
                continue;
            }
            let mut grid = Grid::new();
            grid.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
            fit(&mut grid, terminal, 100);
            let found_by = if table < Table::Files { "number" } else { "found by" };
            grid.set_header([found_by, if table < Table::Files { "name" } else { "id" }, "words", "from"]);
            own.iter().for_each(|row| {
                grid.add_row(row.cells());
            });
            writeln!(out, "{}: {} entries\n{grid}\n", table.name().to_uppercase(), own.len())?;
        }
    }
    out.flush()?;
    Ok(())
}
