"""Texts that programs have stumbled over."""

from __future__ import annotations

from collections.abc import Iterator

MEGABYTE = 1_000_000

_WORDS = """
null None nil undefined true false yes no on off NaN nan Infinity -Infinity inf 0 -0 1 -1 1.0 1e400 1e-400
0x1F 0b1 1_000 01 .5 5. １２ ٣ ² ½ Ⅷ 9223372036854775808 99999999999999999999999999 2147483648 ~ ! ? * ** . ..
... / // \\ \\\\ | & && ; : :: , - -- --- + = == => <> # ## % %% $ $$ $1 @ ^ _ __ ' '' " "" ` `` ( () ) [ [] ]
{ {} } < > latest draft production __proto__ constructor prototype __class__ __init__ __import__ self this
eval exec select public pg_catalog current_user 00000000-0000-0000-0000-000000000000 2024-01-01 2024-02-30
12:34 24:00 en-US C:\\ CON NUL COM1 .git .env
"""
_LINES = """
'; drop table prompt_cards; --
' or '1'='1
') or ('1'='1
1; select pg_sleep(10) --
$$; rollback; $$
\\'; select 1 --
" or ""="
/* comment */
select set_config('app.workspace_id', '00000000-0000-0000-0000-000000000000', false)
; reset role
%s %d %n %x %(name)s
%s%s%s%s%s%s%s%s%s%s
:name :1 :workspace_id
{0} {name} {0.__class__} {!r}
${HOME} $(id) `id`
| cat /etc/passwd
&& sleep 9
../../../../etc/passwd
..\\..\\windows\\win.ini
/dev/null
file:///etc/passwd
http://169.254.169.254/
javascript:alert(1)
<script>alert(1)</script>
<img src=x onerror=alert(1)>
"><svg onload=alert(1)>
</textarea><b>
<!-- comment -->
<![CDATA[ x ]]>
<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]>
&lt;&amp;&#0;&#x0;
\\u0000 \\x00 \\0 %00
\\ud800
{{ x
{{ }}
{{ x }}
{% raw %}
{% include "x@1" %}
{{ 7*7 }}
{{ ''.__class__.__mro__ }}
{# comment
#{7*7} ${7*7} <%= 7*7 %>
{"a": 1
{"a": {"b": []}}
[1, 2,
[[[[[[[[[[[[[[[[[[[[
- item
a: b
a: &x 1
*x
!!python/object/apply:os.system [id]
? complex
| literal
> folded
%YAML 1.2
--- document
# comment
"quoted"
'quoted'
=1+1
=HYPERLINK("http://x","y")
+1+1
-1+1
@SUM(A1)
'=1+1
''=1+1
 =1+1
＝1+1
＋1
－1
＠x
a,b,c
a;b;c
a\tb
"a","b"
a "quoted" b
'quoted
env:TOKEN
env:
sk-aaaaaaaaaaaaaaaaaaaa
__expected
__metadata:x
& | ! <-> :* ( )
a & b | !c
foo:*A
'a':1A
%_%
\\%
[a-z]*
(a+)+$
.*
^$
\\
Bearer abc
If-Match: *
a=b&c=d
a%2Fb%00
ｆｕｌｌ ｗｉｄｔｈ
ＤＲＯＰ ＴＡＢＬＥ
"""
_SCRIPTS = (
    "Ünïcödé", "ß ẞ ſ", "İ ı I i", "Ǆ ǅ ǆ", "ﬁ ﬂ ﬃ", "Å Å Å", "é é", "ạ̈ ạ̈",
    "Ω Ω", "K K", "한글 한글", "漢字", "日本語テキスト", "ไทย", "हिन्दी", "العربية",
    "עברית", "فارسی ۱۲۳", "ქართული", "አማርኛ", "𝕬𝖇𝖈", "𐍈𐌰", "𠜎𠜱", "\U0010ffff",
    "\U000e0041\U000e007f", "👩‍👩‍👧‍👦", "👨🏽‍🚀", "🏳️‍🌈", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇩🇪🇫", "1️⃣",
    "☎︎☎️", "😀" * 50, "Z̸̡̪̯ͨ͊̽̅̾̎a̡͗͗l̢̦̳g̨̛o", "a" + "\u0301" * 500,
    "abc\u202edef", "\u202a\u202b\u202c\u202d\u202e",
    "\u2066\u2067\u2068\u2069", "\u200e\u200f\u061c",
    "\u200b\u200c\u200d\u2060", "\ufeffbom", "bom\ufeff", "\u00ad", "\u034f",
    "\u115f\u1160\u3164\uffa0", "\u2028", "\u2029", "\u0085", "\u00a0",
    "\u3000", "\u180e", "\ufff9\ufffa\ufffb", "\ufffc\ufffd", "\ufe00",
    "\U0001f9ff", "أبجد\u200fabc", "‮evil‬", "a\u0378b", "\ue000 \uf8ff",
)  # fmt: skip


def texts() -> Iterator[str]:
    """Yield several hundred texts, each once."""
    yield from dict.fromkeys(_all())


def _all() -> Iterator[str]:
    yield ""
    yield from _WORDS.split()
    yield from (line for line in _LINES.split("\n") if line)
    yield from _SCRIPTS
    # Every control character, alone and in the middle.
    for number in (*range(32), *range(127, 160)):
        yield chr(number)
        yield f"a{chr(number)}b"
    # Code points that are no characters, and what our own escapes look like.
    yield from map(chr, (0xFDD0, 0xFDD1, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFE, 0x10FFFF))
    yield from (
        "\ufdd00000",
        "\ufdd0",
        "\ufdd0fdd0",
        "\ufdd0nan",
        "\ufdd0inf",
        "\ufdd0-inf",
        "a\ufdd0\x00",
        "\ufdd0d800",
    )
    # Halves of characters, in wrong order, doubled, and next to what they would make.
    yield from ("\ud800", "\udfff", "\udc00\ud800", "\ud800\ud800", "a\ud83d", "\ude00b", "\ud83d\ude00", "\ud800\x00")
    yield from (
        " ",
        "   ",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\n\r",
        "a\r",
        "a\n",
        "\na",
        " a ",
        "a\n\nb",
        "a\r\nb\rc\n",
        '"\n"',
    )
    yield from ("a" * 49, "a" * 50, "a" * 51, "a" * 255, "a" * 256, "a" * 500, "a" * 501, "a" * 2001, "ä" * 10_000)
    yield from (
        "a" * MEGABYTE,
        "😀" * (MEGABYTE // 4),
        "\n" * 100_000,
        "word " * 20_000,
        "[" * 100_000,
        "{{ a }}" * 10_000,
    )
    yield from (
        "\x00" * 10_000,
        "'" * 10_000,
        '"' * 10_000,
        "\\" * 10_000,
        "%" * 10_000,
        "=" * 10_000,
        "\ufdd0" * 10_000,
    )
