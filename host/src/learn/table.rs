//! Labelled rows as a table: written once, learnt from again without the captures.
//!
//! A line before the header says of which schema the features are and which flows have rows, what data they come from, and
//! the hash of all that follows. As long as nobody changes the rows, what is learnt from the table is byte for byte what is
//! learnt from the captures, and its card names the same data; else it names the table. A table that grew (`collect`) is known
//! by its rows from the beginning: the data are what it holds, and each row has the hash of its capture.

use super::dataset::{CaptureFacts, Cleaned, Keys};
use super::{Dataset, LearnError, Row, Truth};
use crate::engine::Pipeline;
use crate::hash::hex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

/// The first word of the first line: what it is, and the version of its layout.
const BEGIN: &str = "# veilwatch-features-2";
/// The same of any version.
const ANY_VERSION: &str = "# veilwatch-features-";

/// Columns before the features.
const FACTS: [&str; 18] = [
    "capture",
    "family",
    "source",
    "pair",
    "label",
    "ties",
    "weak_ties",
    "background",
    "time_ns",
    "tls_version",
    "server",
    "name",
    "ja3",
    "ja4",
    "certificate",
    "packet",
    "flow",
    "sha256",
];

/// Most rows of a table.
pub(super) const ROWS: usize = 20_000_000;

/// Writes a data set as a table.
pub fn write_table(data: &Dataset, pipeline: &Pipeline, out: &mut impl Write) -> io::Result<()> {
    write_named(data, Some(&data.sha256), pipeline, out)
}

/// Writes a data set that is known by its rows alone, however they came together.
pub(super) fn write_by_rows(data: &Dataset, pipeline: &Pipeline, out: &mut impl Write) -> io::Result<()> {
    write_named(data, None, pipeline, out)
}

fn write_named(data: &Dataset, name: Option<&str>, pipeline: &Pipeline, out: &mut impl Write) -> io::Result<()> {
    let mut hashing = Hashing { inner: io::sink(), hasher: Sha256::new() };
    rows(data, pipeline, &mut hashing)?;
    let hash = hex(&hashing.hasher.finalize());
    writeln!(
        out,
        "{BEGIN} schema={} scored={} background={} data={} rows={hash}",
        pipeline.schema().hash(),
        pipeline.config().detection.scored.word(),
        data.recipe.background_sha256,
        name.unwrap_or(&hash)
    )?;
    rows(data, pipeline, out)
}

fn rows(data: &Dataset, pipeline: &Pipeline, out: &mut impl Write) -> io::Result<()> {
    let mut table = csv::Writer::from_writer(out);
    let columns = pipeline.schema().columns().iter().map(|column| column.name.as_ref());
    table.write_record(FACTS.into_iter().chain(columns)).map_err(crate::output::csv_error)?;
    let none = Vec::new();
    for (at, row) in data.rows.iter().enumerate() {
        let capture = &data.captures[row.capture];
        let ties = |ties: &Vec<String>| match ties.is_empty() {
            true => Ok(String::new()),
            false => serde_json::to_string(ties).map_err(io::Error::from),
        };
        let hash = |key: Option<u64>| key.map_or(String::new(), |key| format!("{key:016x}"));
        let cleaned = data.cleaned.get(&at).map(|Cleaned { rule, was }| format!("{rule}:{}", was.name()));
        let Keys { first_ns, version, server, sni, ja3, ja4, certificate } = row.keys;
        let facts = [
            capture.path.clone(),
            capture.family.clone(),
            capture.source.clone(),
            row.pair.to_string(),
            row.truth.name().to_owned(),
            // Weak rows may have been given theirs for a while.
            ties(if row.truth == Truth::Malicious { &row.kin } else { &none })?,
            ties(data.weak.get(&at).unwrap_or(&none))?,
            cleaned.unwrap_or_default(),
            first_ns.to_string(),
            version.to_string(),
            hash(Some(server)),
            hash(sni),
            hash(ja3),
            hash(ja4),
            hash(certificate),
            row.packet.to_string(),
            hash(data.tuples.get(at).copied()),
            capture.sha256.clone(),
        ];
        let cell = |value: &f32| if value.is_nan() { String::new() } else { value.to_string() };
        table.write_record(facts.into_iter().chain(data.row(at).iter().map(cell))).map_err(crate::output::csv_error)?;
    }
    table.flush()
}

/// Reads a table that was written with the same schema.
pub fn read_table(path: &Path, pipeline: &Pipeline) -> Result<Dataset, LearnError> {
    let (mut data, as_written) = read(path, pipeline)?;
    if !as_written {
        data.doubts.push(format!(
            "{}: it was changed or cut since it was written; it is learnt from as it is",
            path.display()
        ));
    }
    Ok(data)
}

/// The same; beside it, whether the table is as it was written.
pub(super) fn read(path: &Path, pipeline: &Pipeline) -> Result<(Dataset, bool), LearnError> {
    let wrong = |what: String| LearnError::File { path: path.to_owned(), what };
    let mut reader = BufReader::new(File::open(path).map_err(|error| wrong(error.to_string()))?);
    let mut first = String::new();
    // A line of words that we wrote is far shorter.
    reader.by_ref().take(4096).read_line(&mut first).map_err(|error| wrong(error.to_string()))?;
    let no_table = || match first.starts_with(ANY_VERSION) {
        true => wrong("another version of this program wrote it; write it again".to_owned()),
        false => {
            wrong("this is no table of `veilwatch features --label` or `--data`, or of `veilwatch collect`".into())
        }
    };
    let said: BTreeMap<&str, &str> = first
        .strip_prefix(BEGIN)
        .ok_or_else(no_table)?
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .collect();
    let word = |name: &str| said.get(name).copied().unwrap_or_default();
    let (schema, scored) = (pipeline.schema(), pipeline.config().detection.scored);
    if word("schema") != schema.hash() || word("scored") != scored.word() {
        return Err(wrong(
            "it was written with other features or of other flows than this pipeline has; write it again with this \
             pipeline, or train the pipeline that it was written with"
                .to_owned(),
        ));
    }
    let mut hashing = Hashing { inner: reader, hasher: Sha256::new() };
    let mut data = Dataset::of(schema);
    data.recipe.background_sha256 = word("background").to_owned();
    let mut places = Places::default();
    let mut table = csv::Reader::from_reader(&mut hashing);
    let named = table.headers().map_err(|error| wrong(error.to_string()))?.clone();
    let expected = FACTS.into_iter().chain(schema.columns().iter().map(|column| column.name.as_ref()));
    if !named.iter().eq(expected) {
        return Err(wrong("its columns are not those of its first line's schema".to_owned()));
    }
    for record in table.records() {
        let record = record.map_err(|error| wrong(error.to_string()))?;
        let row = data.rows.len();
        if row >= ROWS {
            return Err(wrong(format!("more than {ROWS} rows")));
        }
        add(&mut data, &mut places, &record).ok_or_else(|| wrong(format!("row {} cannot be understood", row + 1)))?;
        if data.rows.last().is_some_and(|row| row.truth == Truth::Malicious && row.kin.is_empty()) {
            let what = "is malicious and tied to nothing, so that no fold could keep it from what it belongs to";
            return Err(wrong(format!("row {} {what}", row + 1)));
        }
    }
    drop(table);
    let hash = hex(&hashing.hasher.finalize());
    let as_written = hash == word("rows");
    data.sha256 = if as_written { word("data").to_owned() } else { hash };
    Ok((data, as_written))
}

/// Captures and pairs of a table, numbered as they come.
#[derive(Default)]
struct Places {
    captures: BTreeMap<CaptureFacts, usize>,
    /// By capture and the table's number: whoever wrote it, no pair has flows of two captures.
    pairs: BTreeMap<(usize, usize), usize>,
}

/// Takes one row of a table in.
fn add(data: &mut Dataset, places: &mut Places, record: &csv::StringRecord) -> Option<()> {
    let mut cells = record.iter();
    let mut text = || cells.next();
    let [path, family, source] = [text()?.to_owned(), text()?.to_owned(), text()?.to_owned()];
    let pair: usize = text()?.parse().ok()?;
    let truth: Truth = text()?.parse().ok()?;
    let ties = |text: &str| if text.is_empty() { Some(Vec::new()) } else { serde_json::from_str(text).ok() };
    let (kin, weak): (Vec<String>, Vec<String>) = (ties(text()?)?, ties(text()?)?);
    let row = data.rows.len();
    let cleaned = text()?;
    if !cleaned.is_empty() {
        let (rule, was) = cleaned.split_once(':')?;
        data.cleaned.insert(row, Cleaned { rule: rule.parse().ok()?, was: was.parse().ok()? });
    }
    if !weak.is_empty() {
        data.weak.insert(row, weak);
    }
    let hash = |text: &str| match text {
        "" => Some(None),
        text => u64::from_str_radix(text, 16).ok().map(Some),
    };
    let keys = Keys {
        first_ns: text()?.parse().ok()?,
        version: text()?.parse().ok()?,
        server: hash(text()?)??,
        sni: hash(text()?)?,
        ja3: hash(text()?)?,
        ja4: hash(text()?)?,
        certificate: hash(text()?)?,
    };
    let packet = text()?.parse().ok()?;
    data.tuples.push(hash(text()?)??);
    let sha256 = Some(text()?).filter(|text| text.is_empty() || is_hash(text))?.to_owned();
    for cell in cells {
        data.values.push(if cell.is_empty() {
            f32::NAN
        } else {
            cell.parse().ok().filter(|value: &f32| value.is_finite())?
        });
    }
    let captures = &mut data.captures;
    // Two captures may have one name.
    let facts = CaptureFacts { path, family, source, sha256 };
    let capture = *places.captures.entry(facts).or_insert_with_key(|facts| {
        captures.push(facts.clone());
        captures.len() - 1
    });
    let number = places.pairs.len();
    let pair = *places.pairs.entry((capture, pair)).or_insert(number);
    data.rows.push(Row { capture, pair, truth, kin, packet, keys });
    Some(())
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Hashes what passes.
struct Hashing<T> {
    inner: T,
    hasher: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hasher.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}
