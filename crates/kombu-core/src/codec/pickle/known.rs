//! The classes and functions that stand for plain data: all that a pickle can name.

/// A name that is understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Known {
    Bytearray,
    Bytes,
    Counter,
    Date,
    Datetime,
    Decimal,
    DefaultDict,
    Deque,
    /// `codecs.encode`, as which bytes travel in protocols 0 to 2.
    Encode,
    /// `getattr`, of a class that has a known name in it.
    Getattr,
    Object,
    OrderedDict,
    /// `pytz._p`, a time zone with its offset from UTC.
    PytzOffset,
    /// `copyreg._reconstructor`, as which objects travel in protocols 0 and 1.
    Reconstructor,
    Set,
    Time,
    Timedelta,
    Timezone,
    /// A built-in type, which `defaultdict` has for its missing values.
    Type,
    /// A function without arguments that returns the time zone UTC.
    Utc,
    Uuid,
    ZoneInfo,
    /// `zoneinfo.ZoneInfo._unpickle`, a time zone by its name.
    ZoneInfoNamed,
}

impl Known {
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("builtins" | "__builtin__", name) => match name {
                "bytearray" => Self::Bytearray,
                "bytes" => Self::Bytes,
                "frozenset" | "set" => Self::Set,
                "getattr" => Self::Getattr,
                "object" => Self::Object,
                "bool" | "dict" | "float" | "int" | "list" | "long" | "str" | "tuple"
                | "unicode" => Self::Type,
                _ => return None,
            },
            ("collections", "Counter") => Self::Counter,
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("collections", "defaultdict") => Self::DefaultDict,
            ("collections", "deque") => Self::Deque,
            ("copyreg" | "copy_reg", "_reconstructor") => Self::Reconstructor,
            ("_codecs", "encode") => Self::Encode,
            ("datetime", "date") => Self::Date,
            ("datetime", "datetime") => Self::Datetime,
            ("datetime", "time") => Self::Time,
            ("datetime", "timedelta") => Self::Timedelta,
            ("datetime", "timezone") => Self::Timezone,
            ("dateutil.tz.tz", "tzutc") | ("pytz", "_UTC") => Self::Utc,
            ("decimal", "Decimal") => Self::Decimal,
            ("pytz", "_p") => Self::PytzOffset,
            ("uuid", "UUID") => Self::Uuid,
            ("zoneinfo", "ZoneInfo") => Self::ZoneInfo,
            ("zoneinfo", "ZoneInfo._unpickle") => Self::ZoneInfoNamed,
            _ => return None,
        })
    }
}
