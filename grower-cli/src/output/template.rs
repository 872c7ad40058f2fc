//! The template of `consume --format`: how to print each record.

use super::unescape::{EscapeError, escape};
use grower_client::ConsumerRecord;
use grower_client::ids::Timestamp;
use std::io::{self, Write};
use std::str::FromStr;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(Vec<u8>),
    Field(TemplateField),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TemplateField {
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    KeyBytes,
    ValueBytes,
    Headers,
    Time,
    Millis,
}

/// Why a template was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// `%` before a letter that is not a field.
    #[error("%{0} is not a field; the fields are %t %p %o %k %v %K %V %h %T %m, and %% is a percent sign")]
    Field(char),
    /// A wrong escape.
    #[error(transparent)]
    Escape(#[from] EscapeError),
    /// Nothing after the last `%`.
    #[error("the template ends within a field; write %% for a percent sign")]
    Unfinished,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '\\' => literal.push(escape(&mut rest)?),
                '%' => match rest.next().ok_or(TemplateError::Unfinished)? {
                    '%' => literal.push(b'%'),
                    letter => {
                        let field = TemplateField::of(letter)?;
                        if !literal.is_empty() {
                            parts.push(TemplatePart::Text(std::mem::take(&mut literal)));
                        }
                        parts.push(TemplatePart::Field(field));
                    }
                },
                c => literal.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            parts.push(TemplatePart::Text(literal));
        }
        Ok(Self { parts })
    }
}

impl TemplateField {
    fn of(letter: char) -> Result<Self, TemplateError> {
        Ok(match letter {
            't' => Self::Topic,
            'p' => Self::Partition,
            'o' => Self::Offset,
            'k' => Self::Key,
            'v' => Self::Value,
            'K' => Self::KeyBytes,
            'V' => Self::ValueBytes,
            'h' => Self::Headers,
            'T' => Self::Time,
            'm' => Self::Millis,
            other => return Err(TemplateError::Field(other)),
        })
    }

    fn write(self, record: &ConsumerRecord, out: &mut impl Write) -> io::Result<()> {
        let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
        match self {
            Self::Topic => out.write_all(record.topic.as_str().as_bytes()),
            Self::Partition => write!(out, "{}", record.partition),
            Self::Offset => write!(out, "{}", record.offset),
            Self::Key => out.write_all(record.key.as_deref().unwrap_or_default()),
            Self::Value => out.write_all(record.value.as_deref().unwrap_or_default()),
            Self::KeyBytes => write!(out, "{}", length(&record.key)),
            Self::ValueBytes => write!(out, "{}", length(&record.value)),
            Self::Headers => headers(record, out),
            Self::Time => out.write_all(rfc3339(record.timestamp).as_bytes()),
            Self::Millis => write!(out, "{}", record.timestamp),
        }
    }
}

fn headers(record: &ConsumerRecord, out: &mut impl Write) -> io::Result<()> {
    for (at, header) in record.headers.iter().enumerate() {
        if at != 0 {
            out.write_all(b",")?;
        }
        out.write_all(header.name.as_ref())?;
        out.write_all(b"=")?;
        out.write_all(header.value.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

/// Formats a timestamp as `2026-11-21T08:30:00.125Z`, or as milliseconds outside the calendar.
pub(crate) fn rfc3339(timestamp: Timestamp) -> String {
    let millis = jiff::SignedDuration::from_millis(timestamp.as_millis());
    // `jiff::Timestamp` ends one day before year 10000. A civil time reaches the last day.
    match jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0).checked_add(millis) {
        Ok(time) => format!("{time:.3}Z"),
        Err(_) => timestamp.to_string(),
    }
}

impl Template {
    /// Prints one record.
    pub(crate) fn write(&self, record: &ConsumerRecord, out: &mut impl Write) -> io::Result<()> {
        self.parts.iter().try_for_each(|part| match part {
            TemplatePart::Text(bytes) => out.write_all(bytes),
            TemplatePart::Field(field) => field.write(record, out),
        })
    }
}
