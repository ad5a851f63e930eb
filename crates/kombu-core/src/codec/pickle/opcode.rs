//! The operations of the format that are read or written (`Lib/pickletools.py` describes them).

macro_rules! opcodes {
    ($($name:ident = $byte:literal),+ $(,)?) => {
        $(pub(super) const $name: u8 = $byte;)+
    };
}

opcodes! {
    ADDITEMS = 0x90,
    APPEND = b'a',
    APPENDS = b'e',
    BINBYTES = b'B',
    BINBYTES8 = 0x8e,
    BINFLOAT = b'G',
    BINGET = b'h',
    BININT = b'J',
    BININT1 = b'K',
    BININT2 = b'M',
    BINPUT = b'q',
    BINSTRING = b'T',
    BINUNICODE = b'X',
    BINUNICODE8 = 0x8d,
    BUILD = b'b',
    BYTEARRAY8 = 0x96,
    DICT = b'd',
    DUP = b'2',
    EMPTY_DICT = b'}',
    EMPTY_LIST = b']',
    EMPTY_SET = 0x8f,
    EMPTY_TUPLE = b')',
    FLOAT = b'F',
    FRAME = 0x95,
    FROZENSET = 0x91,
    GET = b'g',
    GLOBAL = b'c',
    INT = b'I',
    LIST = b'l',
    LONG = b'L',
    LONG1 = 0x8a,
    LONG4 = 0x8b,
    LONG_BINGET = b'j',
    LONG_BINPUT = b'r',
    MARK = b'(',
    MEMOIZE = 0x94,
    NEWFALSE = 0x89,
    NEWOBJ = 0x81,
    NEWTRUE = 0x88,
    NONE = b'N',
    POP = b'0',
    POP_MARK = b'1',
    PROTO = 0x80,
    PUT = b'p',
    REDUCE = b'R',
    SETITEM = b's',
    SETITEMS = b'u',
    SHORT_BINBYTES = b'C',
    SHORT_BINSTRING = b'U',
    SHORT_BINUNICODE = 0x8c,
    STACK_GLOBAL = 0x93,
    STOP = b'.',
    STRING = b'S',
    TUPLE = b't',
    TUPLE1 = 0x85,
    TUPLE2 = 0x86,
    TUPLE3 = 0x87,
    UNICODE = b'V',
}

/// What an operation that is not read would do, if the format has it.
pub(super) fn refused(opcode: u8) -> &'static str {
    match opcode {
        b'P' | b'Q' => "it refers to an object that is kept elsewhere (a persistent id)",
        b'i' | b'o' | 0x92 => "it makes an instance of a class",
        0x82..=0x84 => "it uses a registered extension",
        0x97 | 0x98 => "its buffers are kept elsewhere",
        _ => "the operation is unknown",
    }
}
