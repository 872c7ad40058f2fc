//! The two formats of `/metrics`: which one a scraper asked for, and the older one made from the newer.
//!
//! Sources: OpenMetrics 1.0.0, and the Prometheus text format 0.0.4. The registry prints OpenMetrics. A scraper gets it
//! only if it accepts it by name, as strict readers of the text format refuse its types and its `# EOF`.

use std::fmt::Write;

/// A format of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus text format 0.0.4, which every scraper and every person can read.
    Text,
}

impl Format {
    /// The format that an `Accept` header prefers: the largest weight wins, the first one of several.
    pub(super) fn accepted(header: &str) -> Self {
        let mut best = (Self::Text, 0);
        for range in header.split(',') {
            if let Some((format, weight)) = media_range(range)
                && best.1 < weight
            {
                best = (format, weight);
            }
        }
        best.0
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// `metrics`, which is OpenMetrics text, in this format.
    pub(super) fn print(self, metrics: String) -> String {
        match self {
            Self::OpenMetrics => metrics,
            Self::Text => to_text(&metrics),
        }
    }
}

/// One element of an `Accept` header, if it names a format we have: the format, and its weight in thousandths.
fn media_range(range: &str) -> Option<(Format, u32)> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let (mut weight, mut version) = (1_000, None);
    for parameter in parts {
        match parameter.split_once('=')? {
            ("q" | "Q", value) => weight = (value.parse::<f32>().ok()?.clamp(0.0, 1.0) * 1_000.0) as u32,
            ("version", value) => version = Some(value.trim_matches('"')),
            _ => {}
        }
    }
    let format = match (kind.as_str(), version) {
        ("application/openmetrics-text", None | Some("0.0.1" | "1.0.0")) => Format::OpenMetrics,
        ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Format::Text,
        _ => return None,
    };
    Some((format, weight))
}

/// Prints OpenMetrics text in the text format: a family is called what its samples are called, types of OpenMetrics
/// alone become the nearest ones, and units, the end mark and the quotes' escapes in help texts are dropped.
fn to_text(metrics: &str) -> String {
    let mut text = String::with_capacity(metrics.len());
    let mut families = metrics.lines().peekable();
    while let Some(line) = families.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            if !line.starts_with('#') {
                let _ = writeln!(text, "{line}"); // Writing to a string does not fail.
            }
            continue;
        };
        let (family, help) = help.split_once(' ').unwrap_or((help, ""));
        let kind = families.next_if(|line| line.starts_with("# TYPE ")).and_then(|line| line.rsplit(' ').next());
        let (suffix, kind) = text_kind(kind.unwrap_or("unknown"));
        let _ = writeln!(text, "# HELP {family}{suffix} {}", help.replace("\\\"", "\""));
        let _ = writeln!(text, "# TYPE {family}{suffix} {kind}");
    }
    text
}

/// How the samples of a family of this type end, and the type's name in the text format.
fn text_kind(kind: &str) -> (&'static str, &str) {
    match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "stateset" => ("", "gauge"),
        "unknown" => ("", "untyped"),
        other => ("", other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_openmetrics_only_where_it_prefers_it_by_name() {
        let current = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                       text/plain;version=0.0.4;q=0.4,*/*;q=0.2";
        for (header, expected) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, */*;q=0.8", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            ("text/plain; version=0.0.4; charset=utf-8", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; version=\"1.0.0\"; charset=utf-8", Format::OpenMetrics),
            (current, Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1,text/plain;q=0.5", Format::OpenMetrics),
            ("application/openmetrics-text;q=0.3,text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0,text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            ("application/vnd.google.protobuf;encoding=delimited", Format::Text),
            ("application/openmetrics-text;q=x;;=", Format::Text),
            (",;,=;q=", Format::Text),
        ] {
            assert_eq!(Format::accepted(header), expected, "{header:?}");
        }
    }

    #[test]
    fn the_text_format_has_its_own_names_and_types() {
        let metrics = "\
# HELP grower_build The version.
# TYPE grower_build info
grower_build_info{version=\"0.1.0\"} 1
# HELP grower_bytes Read \\\"all\\\" of it, \\\\ and\\nso on.
# TYPE grower_bytes counter
# UNIT grower_bytes bytes
grower_bytes_total{topic=\"# EOF\"} 7
# HELP grower_seconds Time.
# TYPE grower_seconds histogram
grower_seconds_sum 0.5
grower_seconds_count 1
grower_seconds_bucket{le=\"+Inf\"} 1
# HELP grower_any Any.
# TYPE grower_any unknown
grower_any 1
# EOF
";
        insta::assert_snapshot!(Format::Text.print(metrics.to_owned()), @r##"
        # HELP grower_build_info The version.
        # TYPE grower_build_info gauge
        grower_build_info{version="0.1.0"} 1
        # HELP grower_bytes_total Read "all" of it, \\ and\nso on.
        # TYPE grower_bytes_total counter
        grower_bytes_total{topic="# EOF"} 7
        # HELP grower_seconds Time.
        # TYPE grower_seconds histogram
        grower_seconds_sum 0.5
        grower_seconds_count 1
        grower_seconds_bucket{le="+Inf"} 1
        # HELP grower_any Any.
        # TYPE grower_any untyped
        grower_any 1
        "##);
        assert_eq!(Format::OpenMetrics.print(metrics.to_owned()), metrics);
    }
}
