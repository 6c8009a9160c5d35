"""A Japanese paragraph of one line: in ISO-2022-JP it has 304 octets."""

TEXT = (
    "Allegro Common Lisp  （以下Allegro CLと呼びます）"
    "は、高度にオプティマイズされたCommon Lispシステムであり、 最もパワフ"
    "ルなダイナミックオブジェクト指向プログラミングシステムです。 Allegro C"
    "Lは、プログラム開発の生産性向上と、ダイナミックオブジェクト指向のメリットを提供"
    "します。"
)
ISO_2022_JP = TEXT.encode("iso-2022-jp")
ISO_2022_JP_SHA256 = "e7467f1196381050abca32c120a199925d19cfe4bc9a196f9422f6e30c310135"
