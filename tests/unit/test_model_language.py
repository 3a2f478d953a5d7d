"""Language by script and function words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.serving.language import UNKNOWN, detect


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Nike Air Max 90 men's running shoes", "en"),
        ("夏季连衣裙女2024新款 纯棉", "zh"),
        ("Nike 耐克 男子 Air Zoom 透气跑步鞋", "zh"),
        ("iPhone 15 手机壳 透明", "zh"),
        ("レディース ワンピース 夏 花柄", "ja"),
        ("여성 원피스 여름", "ko"),
        ("Женское платье летнее", "ru"),
        ("Der Stuhl ist aus Holz und für das Wohnzimmer", "de"),
        ("Une robe en coton pour les femmes avec des poches", "fr"),
        ("ＮＩＫＥ ａｉｒ ｍａｘ", "en"),
        ("Casio Enticer Women Black Analogue Watches (A531) LTP-2083L-1AVDF", "en"),
        ("155litre larder fridge class a white", "en"),
        ("Van Heusen Women Sunglasses", "en"),
        ("Men's swim briefs, maillot de bain", "en"),
        ("三星500r5h 900x3l 910s3l 500r4k 270e5k 300e5k 主板", "zh"),
        ("Vestido de verano para mujer con bolsillos", "es"),
    ],
)
def test_languages(text: str, code: str) -> None:
    found = detect(text)
    assert found.code == code
    assert 0 < found.score <= 1


def test_a_text_that_says_nothing_takes_what_the_seller_said() -> None:
    assert detect("12345 -- 100%", "zh-CN").code == "zh"
    assert detect("12345 -- 100%").code == UNKNOWN
    assert detect("6FC5210-0DA00 0DA20", "de").code == "de", "model codes are no words"
    assert detect("", "").score == 0


def test_function_words_raise_the_score() -> None:
    assert detect("a coat for the cold and the rain").score > detect("Nike Air Max").score


@given(st.text(max_size=200))
def test_any_text_has_an_answer(text: str) -> None:
    found = detect(text)
    assert found.code
    assert 0 <= found.score <= 1
