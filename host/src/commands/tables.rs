use anyhow::Result;
use clap::ValueEnum;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table as Grid};
use serde_json::{Value, json};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use veilwatch::output::{fit, plain};
use veilwatch::tables::{Loader, load};
use veilwatch_core::detect::Category;
use veilwatch_core::tables::{FileType, NumberEntry, Place, PortRange, Purpose, Table, Tables, Transport, Warning};

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

/// An entry of any table.
#[derive(Debug)]
struct Row<'t> {
    table: Table,
    entry: Entry<'t>,
}

#[derive(Debug)]
enum Entry<'t> {
    Number(&'t NumberEntry),
    File(&'t FileType),
    Warning(&'t Warning),
    Purpose(&'t Purpose),
}

/// All entries, table by table.
fn rows(tables: &Tables) -> impl Iterator<Item = Row<'_>> {
    let numbers = Table::NUMBERS
        .into_iter()
        .flat_map(|table| tables.numbers(table).iter().map(move |entry| Row { table, entry: Entry::Number(entry) }));
    let files = tables.files().iter().map(|entry| Row { table: Table::Files, entry: Entry::File(entry) });
    let warn = tables.warn().iter().map(|entry| Row { table: Table::Warn, entry: Entry::Warning(entry) });
    let purpose = tables.purposes().iter().map(|entry| Row { table: Table::Purpose, entry: Entry::Purpose(entry) });
    numbers.chain(files).chain(warn).chain(purpose)
}

/// What the tables of numbers say, and the warnings and purposes that name the port.
fn of_number(tables: &Tables, number: u16) -> Vec<Row<'_>> {
    // Below the first EtherType every number would be a length.
    let own = Table::NUMBERS
        .into_iter()
        .filter(|table| *table != Table::Ether || number >= 0x0600)
        .filter_map(|table| Some(Row { table, entry: Entry::Number(tables.number(table, number)?) }));
    let named = tables.warn().iter().filter(|warning| warning.ports.iter().any(|range| range.holds(number)));
    let named = named.map(|entry| Row { table: Table::Warn, entry: Entry::Warning(entry) });
    let meant = tables.purposes().iter().filter(|purpose| purpose.ports.iter().any(|range| range.holds(number)));
    let meant = meant.map(|entry| Row { table: Table::Purpose, entry: Entry::Purpose(entry) });
    own.chain(named).chain(meant).collect()
}

fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => u16::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

impl Row<'_> {
    fn place(&self) -> &Place {
        match self.entry {
            Entry::Number(entry) => &entry.place,
            Entry::File(entry) => &entry.place,
            Entry::Warning(entry) => &entry.place,
            Entry::Purpose(entry) => &entry.place,
        }
    }

    fn is_called(&self, name: &str) -> bool {
        match self.entry {
            Entry::Number(entry) => entry.name.eq_ignore_ascii_case(name),
            Entry::File(entry) => entry.id.eq_ignore_ascii_case(name) || entry.name.eq_ignore_ascii_case(name),
            Entry::Warning(entry) => entry.id.eq_ignore_ascii_case(name),
            Entry::Purpose(entry) => entry.id.eq_ignore_ascii_case(name),
        }
    }

    /// The number, the signatures, or what a warning is found by.
    fn key(&self) -> String {
        match self.entry {
            Entry::Number(entry) if self.table == Table::Ether && entry.first == entry.last => {
                format!("0x{:04x}", entry.first)
            }
            Entry::Number(entry) if self.table == Table::Ether => format!("0x{:04x}-0x{:04x}", entry.first, entry.last),
            Entry::Number(entry) => PortRange { first: entry.first, last: entry.last }.to_string(),
            Entry::File(entry) => lines(&entry.signatures),
            Entry::Warning(entry) => {
                all_of(entry.transport, &[lines(&entry.ports), lines(&entry.names), lines(&entry.bytes)])
            }
            Entry::Purpose(entry) => {
                all_of(entry.transport, &[lines(&entry.ports), lines(&entry.names), lines(&entry.agents)])
            }
        }
    }

    fn cells(&self) -> [String; 4] {
        let (name, words) = match self.entry {
            Entry::Number(entry) => (entry.name.to_string(), entry.words.to_string()),
            Entry::File(entry) => (entry.id.to_string(), format!("{} ({})", entry.name, entry.media)),
            Entry::Warning(entry) => {
                (entry.id.to_string(), format!("{}: {} {}", entry.severity.name(), entry.words, entry.look))
            }
            Entry::Purpose(entry) => {
                (entry.id.to_string(), format!("{} ({}): {}", entry.category, entry.strength.name(), entry.words))
            }
        };
        // Lines of a key are ours; control characters inside of them are not.
        let key: Vec<String> = self.key().split('\n').map(plain).collect();
        [key.join("\n"), plain(&name), plain(&words), plain(&self.place().to_string())]
    }

    fn json(&self) -> Value {
        let list = |items: &[Box<str>]| items.iter().map(|item| plain(item)).collect::<Vec<_>>();
        let mut line = match self.entry {
            Entry::Number(entry) => {
                json!({ "first": entry.first, "last": entry.last, "name": plain(&entry.name), "words": plain(&entry.words) })
            }
            Entry::File(entry) => json!({
                "id": entry.id, "name": plain(&entry.name), "media": plain(&entry.media),
                "extensions": list(&entry.extensions), "bytes": strings(&entry.signatures),
            }),
            Entry::Warning(entry) => json!({
                "id": entry.id, "severity": entry.severity.name(), "words": plain(&entry.words),
                "look": plain(&entry.look), "category": entry.category.map(Category::name),
                "transport": entry.transport.map(transport_name),
                "ports": strings(&entry.ports), "names": strings(&entry.names), "bytes": strings(&entry.bytes),
            }),
            Entry::Purpose(entry) => json!({
                "id": entry.id, "category": entry.category.name(), "strength": entry.strength.name(),
                "words": plain(&entry.words), "transport": entry.transport.map(transport_name),
                "ports": strings(&entry.ports), "names": strings(&entry.names), "agents": list(&entry.agents),
            }),
        };
        line["table"] = self.table.name().into();
        line["file"] = plain(&self.place().file).into();
        line["line"] = self.place().line.into();
        line
    }
}

/// What an entry is found by: one of each of these kinds.
fn all_of(transport: Option<Transport>, kinds: &[String]) -> String {
    let transport = transport.map(|transport| format!("{} ", transport_name(transport)));
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).filter(|kind| !kind.is_empty()).collect();
    format!("{}{}", transport.unwrap_or_default(), kinds.join("\nand\n"))
}

fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Other => "other",
    }
}

fn strings<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(|item| plain(&item.to_string())).collect()
}

fn lines<T: ToString>(items: &[T]) -> String {
    strings(items).join("\n")
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
