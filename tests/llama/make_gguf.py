#!/usr/bin/env python3
"""Makes the three tiny models of tests/llama: llama-architecture GGUFs with seeded random weights.

The point is a genuine server with a genuine tokenizer, not sense: the answers are garbage, but the same garbage on
every machine at temperature 0. `tiny.gguf` speaks whole characters; `bytes.gguf` also speaks single bytes above 0x7F,
which make broken UTF-8; `embed.gguf` has a pooling type, so that the server makes one vector of a text. Nothing is
downloaded and nothing is learned. It refuses to be clever: one seed, less than 1 MB a file, made in a second.

usage: make_gguf.py FOLDER
"""

import os
import sys

import gguf
import numpy as np

SEED = 11434
LAYERS, WIDTH, HEADS, FEED_FORWARD = 3, 64, 4, 160
# Long enough that an answer nobody stops outlives every wait of the tests: that is how they see a hang-up work.
CONTEXT = 16384

# Words, and what breaks clients when it comes out of a model: quotes, backslashes, controls, line separators (U+2028,
# U+2029, U+0085), characters of two, three and four bytes, and an emoji that is a sequence of several.
WORDS = """the of and to in is was for with that from this have not are but had you all were when which there
their said them would about other into more time could than only some these very after water long little
first down side been call who now people my made over did day""".split()
ODD = ['"', "\\", "\\n", "\\u0000", "\n", "\t", "\r\n", "\x01", "\x1b[0m", "\x7f", "\u0085", "\u2028", "\u2029",
       "</b>", "<b>&amp;", "{\"a\":", "data: ", "[DONE]", "é", "ß", "ñ", "Ж", "ش", "中文", "かな", "한", "€", "\u200b",
       "\ufeff", "\ufffd", "😀", "🦙", "👩\u200d🚀", "🇪🇺", "𝔘"]

# The answer is a conversation's last turn; roles are spelled out so that any role a client sends is accepted.
TEMPLATE = ("{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}[assistant] {% endif %}")


def vocabulary() -> tuple[list[bytes], list[float], list[int]]:
    """SentencePiece-style pieces: specials, all 256 bytes (so that any text has tokens), then text pieces."""
    kind = gguf.TokenType
    tokens = [(b"<unk>", 0.0, kind.UNKNOWN), (b"<s>", 0.0, kind.CONTROL), (b"</s>", 0.0, kind.CONTROL)]
    tokens += [(f"<0x{byte:02X}>".encode(), 0.0, kind.BYTE) for byte in range(256)]
    pieces = dict.fromkeys(chr(code) for code in range(0x21, 0x7F))
    pieces["\u2581"] = None
    for word in WORDS:
        # Every prefix too: pieces are found by joining two known neighbours, so a long one needs its shorter ones.
        pieces.update(dict.fromkeys("\u2581" + word[:end] for end in range(1, len(word) + 1)))
    pieces.update(dict.fromkeys(text.replace(" ", "\u2581") for text in ODD))
    tokens += [(piece.encode(), -float(rank), kind.NORMAL) for rank, piece in enumerate(pieces)]
    names, scores, kinds = zip(*tokens)
    return list(names), list(scores), [int(one) for one in kinds]


def tensors(kinds: list[int], silent: set[int]) -> dict[str, np.ndarray]:
    """Random weights. A silent token's row of output weights is zero: it never comes near the likeliest ones."""
    draw = np.random.Generator(np.random.PCG64(SEED))

    def normal(rows: int, columns: int, scale: float) -> np.ndarray:
        return (draw.standard_normal((rows, columns)) * scale).astype(np.float32)

    ones = np.ones(WIDTH, dtype=np.float32)
    made = {"token_embd.weight": normal(len(kinds), WIDTH, 1.0), "output_norm.weight": ones}
    spread = WIDTH ** -0.5
    for layer in range(LAYERS):
        name = f"blk.{layer}."
        made[name + "attn_norm.weight"] = ones
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            made[f"{name}{part}.weight"] = normal(WIDTH, WIDTH, 2 * spread)
        made[name + "ffn_norm.weight"] = ones
        made[name + "ffn_gate.weight"] = normal(FEED_FORWARD, WIDTH, 2 * spread)
        made[name + "ffn_up.weight"] = normal(FEED_FORWARD, WIDTH, 2 * spread)
        made[name + "ffn_down.weight"] = normal(WIDTH, FEED_FORWARD, 2 * FEED_FORWARD ** -0.5)
    output = normal(len(kinds), WIDTH, 4 * spread)
    output[list(silent)] = 0
    made["output.weight"] = output
    return made


def write(path: str, speaks_high_bytes: bool = False, embeds: bool = False) -> None:
    names, scores, kinds = vocabulary()
    # No token ends the text, so an answer ends by its length or a stop text only.
    silent = {token for token, kind in enumerate(kinds) if kind in (gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL)}
    if not speaks_high_bytes:
        # In the middle of a broken character the server holds its stream back and cannot be stopped.
        silent |= {names.index(f"<0x{byte:02X}>".encode()) for byte in range(0x80, 0x100)}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(os.path.basename(path).removesuffix(".gguf"))
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(names))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(names)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    if embeds:
        writer.add_pooling_type(gguf.PoolingType.MEAN)
    for name, values in tensors(kinds, silent).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{os.path.basename(path)}: {os.path.getsize(path)} bytes, {len(names)} tokens")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: make_gguf.py FOLDER")
    write(os.path.join(sys.argv[1], "tiny.gguf"))
    write(os.path.join(sys.argv[1], "bytes.gguf"), speaks_high_bytes=True)
    write(os.path.join(sys.argv[1], "embed.gguf"), embeds=True)


if __name__ == "__main__":
    main()
