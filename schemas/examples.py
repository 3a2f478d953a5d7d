"""One example of every message, for the documents and for tests: real values of the types, not text."""

from __future__ import annotations

from msgspec import Struct

from schemas.behaviour import Action, BehaviourByProduct, BehaviourEvent
from schemas.envelope import Envelope
from schemas.features import ItemFeatures, ItemWindow, UserFeatures, UserWindow
from schemas.listing import (
    Attribute,
    Category,
    CategoryGuess,
    EnrichedListing,
    EnrichmentRequest,
    Evidence,
    Judgement,
    Keyword,
    Language,
    ListingFacts,
    Producer,
    ProducerKind,
    RequestKind,
    Revision,
    SourceEvent,
    Status,
    Times,
)
from schemas.product import ProductEventType, RawListing, Withdrawal
from schemas.profile import Affinities, Decayed, EventStamp, LastItem, Rfm, Session, UserProfile
from schemas.review import ReviewDecision, ReviewRequest
from schemas.vector import pack_float32, pack_int8

NOW = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
PRODUCT, USER = "sku-20481", "u-7731"
SPACE = "listing-encoder-5b1e"
MODEL = Producer(ProducerKind.MODEL, "listing", "0-1f0c2a")
SELLER = Producer(ProducerKind.SELLER, "shop-88")

LISTING = RawListing(
    product_id=PRODUCT,
    title="龙井绿茶 2026 新茶 250g 罐装",
    description="西湖产区，明前采摘。",
    language="zh-CN",
    brand=None,
    price=168.0,
    currency="CNY",
    seller="shop-88",
    category_hint="茶叶/绿茶",
    attributes={"产地": "杭州", "包装方式": ["罐装", "礼盒"]},
    images=["https://img.example.com/20481/1.jpg"],
    channels=["app", "mini-program"],
)
SOURCE = SourceEvent(
    id="0194-a1",
    type=ProductEventType.CREATED,
    source="/catalogue",
    topic="product-created",
    partition=2,
    offset=40_117,
    time=NOW,
)
_UNIT = (0.6, 0.8)

ENRICHED = EnrichedListing(
    product_id=PRODUCT,
    revision=Revision(0, 40_117, 0),
    status=Status.ENRICHED,
    source=SOURCE,
    listing=LISTING,
    times=Times(NOW, NOW + 40, NOW + 410),
    language=Language("zh", 0.99, MODEL),
    category=Category(
        taxonomy="162e86e67c73",
        node="grocery.drinks.tea.green",
        path=["食品生鲜", "饮料冲饮", "茶叶", "绿茶白茶"],
        score=0.94,
        producer=MODEL,
        runners_up=[CategoryGuess("grocery.drinks.tea", ["食品生鲜", "饮料冲饮", "茶叶"], 0.04)],
    ),
    attributes=[
        Attribute(name="产地", value="杭州", score=1.0, producer=SELLER),
        Attribute(name="净含量", value="250g", score=0.91, producer=MODEL, evidence=Evidence("title", 13, 17)),
    ],
    keywords=[Keyword(text="龙井绿茶", score=0.88, producer=MODEL, evidence=Evidence("title", 0, 4))],
    quality=Judgement(score=0.8, reasons=[], producer=MODEL),
    safety=Judgement(score=0.999, reasons=[], producer=MODEL),
    embedding=pack_float32(SPACE, _UNIT),
    models={"listing": "0-1f0c2a"},
)

VALUES: dict[str, Struct] = {
    "ProductCreated": LISTING,
    "ProductUpdated": LISTING,
    "ProductWithdrawn": Withdrawal(product_id=PRODUCT, reason="sold out for good"),
    "UserBehaviour": BehaviourEvent(
        user_id=USER,
        action=Action.PURCHASE,
        event_time=NOW,
        product_id=PRODUCT,
        channel="app",
        session_id="s-19",
        price=168.0,
        currency="CNY",
        quantity=2,
    ),
    "ListingEnriched": ENRICHED,
    "ListingFacts": ListingFacts(
        product_id=PRODUCT,
        revision=Revision(0, 40_117, 0),
        event_id="0194-a1",
        category=["grocery", "grocery.drinks", "grocery.drinks.tea", "grocery.drinks.tea.green"],
        attributes=["产地=杭州", "净含量=250g"],
        price_band="CNY:8",
        language="zh",
        launched_at=NOW,
        embedding=pack_int8(SPACE, _UNIT),
    ),
    "EnrichmentRequested": EnrichmentRequest(
        product_id=PRODUCT,
        kind=RequestKind.RETRY,
        revision=Revision(0, 40_117, 1),
        source=SOURCE,
        listing=LISTING,
        requested_at=NOW + 60_000,
        not_before=NOW + 90_000,
    ),
    "UserBehaviourByProduct": BehaviourByProduct(
        product_id=PRODUCT,
        user_id=USER,
        action=Action.PURCHASE,
        event_time=NOW,
        origin_partition=1,
        origin_offset=99_120,
        appended_at=NOW + 3,
        channel="app",
        quantity=2,
        price=168.0,
        currency="CNY",
    ),
    "UserProfileUpdated": UserProfile(
        user_id=USER,
        stamp=EventStamp(0, 1, 99_120),
        as_of=NOW,
        published=NOW + 20,
        half_life_ms={"affinity": 1_209_600_000},
        affinities=Affinities(category={"grocery.drinks.tea": Decayed(2.5, NOW)}),
        counts={"purchase": {"app": 1}},
        rfm=Rfm(last_purchase=NOW, purchases=1, monetary={"CNY": 336.0}),
        last_items=[LastItem(PRODUCT, Action.PURCHASE, NOW)],
        session=Session(id="s-19", started=NOW - 60_000, last=NOW, events=4),
        embeddings=[pack_float32(SPACE, _UNIT)],
        languages={"zh": Decayed(1.0, NOW)},
    ),
    "ItemFeaturesUpdated": ItemFeatures(
        product_id=PRODUCT,
        newest=NOW,
        as_of=NOW - 60_000,
        valid_until=NOW + 3_540_000,
        published=NOW + 25,
        windows={"1h": ItemWindow(views=12, carts=3, purchases=2), "24h": ItemWindow(views=40, carts=5, purchases=2)},
        totals=ItemWindow(views=40, carts=5, purchases=2),
        freshness_ms=22,
    ),
    "UserFeaturesUpdated": UserFeatures(
        user_id=USER,
        newest=NOW,
        as_of=NOW - 60_000,
        valid_until=NOW + 3_540_000,
        published=NOW + 25,
        windows={"1h": UserWindow(actions={"purchase": 1}, categories={"grocery": 1})},
        session_ms=60_000,
        session_events=4,
        last_items=[LastItem(PRODUCT, Action.PURCHASE, NOW)],
        freshness_ms=22,
    ),
    "ReviewRequested": ReviewRequest(
        product_id=PRODUCT,
        revision=Revision(0, 40_117, 0),
        reasons=["safety score 0.41 lies in the band that a person decides"],
        listing=ENRICHED,
        requested_at=NOW + 410,
    ),
    "ReviewDecided": ReviewDecision(
        product_id=PRODUCT,
        revision=Revision(0, 40_117, 0),
        decision="approve",
        person="reviewer-3",
        decided_at=NOW + 3_600_000,
    ),
}
"""Message name to a value of its type. Tombstones and records carried as they came have none."""


def envelope(ce_type: str) -> Envelope:
    """Attributes as the producers of the examples send them."""
    return Envelope(
        "0194-a1", ce_type, "/shangxin/example", NOW, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    )
