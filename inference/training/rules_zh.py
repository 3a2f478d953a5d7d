"""Values of common attributes in Chinese listings by their wording: weak labels for names that no labelled set has.

The labelled sets ask their attributes in English; the one Chinese set with names, advertising copy, knows clothes
alone. A reader trained on them answers Chinese names with the product word. The rules here find values whose wording
gives them away (`加绒` is a feature, `40码` a size); where a rule finds nothing, nothing is there to be found, and that
is what a reader learns most from. They are for training only: what is shipped reads, it does not look words up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

HUE = "黑白红蓝绿黄灰粉紫棕橙金银杏驼青米裸肤咖"
PLAIN = "黑红蓝绿黄灰粉紫棕"
TONE = "深浅米奶藏天墨军酒宝湖枣玫荧亮暗雾"
NUMBER = r"\d+(?:\.\d+)?"
PLACES = "中国 日本 韩国 德国 美国 法国 意大利 英国 澳洲 澳大利亚 新西兰 泰国 越南 云南 新疆 宁夏 内蒙古 四川 福建"


def _words(words: str) -> str:
    """Any of them, the longest that fits."""
    return "|".join(sorted(map(re.escape, words.split()), key=len, reverse=True))


PATTERNS: Mapping[str, str] = {
    "颜色": rf"[{TONE}]?(?:[{HUE}]|咖啡|卡其|香槟|玫瑰|豆沙)色|[{TONE}][{PLAIN}]|黑白|黑红|粉红|橙红|卡其|藏青",
    "性别": _words("男女通用 男女款 男女 男士 女士 男款 女款 男童 女童 男生 女生 中性 男 女"),
    "尺码": r"\d{2}(?:\.5)?码|[SMLX]{1,4}码|均码|加大码|大码|(?<![A-Za-z])(?:[2-6]?X{1,3}L|X{0,2}S|[ML])(?![A-Za-z])",
    "材质": _words(
        "纯棉 全棉 棉麻 亚麻 真皮 牛皮 羊皮 羊毛 羊绒 真丝 桑蚕丝 雪纺 涤纶 尼龙 牛津布 帆布 不锈钢 陶瓷 玻璃 塑料 "
        "实木 橡木 胡桃木 硅胶 乳胶 珊瑚绒 法兰绒 蕾丝 灯芯绒 铝合金 合金 碳钢 纯银 纯铜 黄铜 亚克力 莫代尔 冰丝 针织 "
        "PU 皮革 双面呢 竹纤维 白鸭绒 白鹅绒 头层牛皮"
    ),
    "风格": _words("韩版 日系 欧美 复古 简约 休闲 田园 北欧 中式 美式 民族风 学院风 森系 甜美 通勤 英伦 法式 街头 嘻哈 "
                 "慵懒风 中国风 文艺 原宿 日式 韩式 欧式 现代"),
    "图案": _words("碎花 条纹 格子 波点 印花 卡通 纯色 迷彩 字母 刺绣 豹纹 千鸟格 格纹 小熊"),
    "版型": _words("修身 宽松 直筒 紧身 阔腿 收腰 A字 高腰 小脚 oversize"),
    "领型": _words("V领 圆领 立领 翻领 高领 方领 一字领 连帽 POLO领 半高领 堆堆领 西装领 娃娃领"),
    "产地": rf"进口|{_words(PLACES)}",
    "鞋跟": _words("平底 平跟 高跟 粗跟 细跟 厚底 坡跟 中跟 低跟 内增高 松糕"),
    "鞋头": _words("圆头 尖头 方头 鱼嘴"),
    "闭合方式": _words("系带 拉链 魔术贴 套脚 搭扣 一脚蹬 松紧"),
    "净含量": rf"{NUMBER} ?(?:ml|毫升|克|kg|千克|斤|g)(?![A-Za-z])",
    "容量": rf"{NUMBER} ?(?:ml|毫升|升|L)(?![A-Za-z])",
    "功率": rf"{NUMBER} ?(?:w|瓦)(?![A-Za-z])",
    "电压": rf"{NUMBER} ?(?:v|伏)(?![A-Za-z])",
    "件数": r"\d+ ?(?:件套|件|支|片|个|双|只|包|袋|盒|瓶|条|卷|抽|粒|枚|张)装?",
    "季节": _words("春夏 秋冬 春秋 夏秋 夏季 冬季 春季 秋季 四季 冬天 夏天 春夏季 秋冬季"),
    "适用年龄": _words("儿童 婴儿 宝宝 婴幼儿 成人 老人 中老年 青少年 新生儿") + r"|\d+-\d+岁",
    "型号": r"(?<![A-Za-z0-9])[A-Za-z]{1,6}-?\d{2,6}[A-Za-z]{0,3}(?![A-Za-z0-9])",
    "功效": _words("补水 保湿 美白 控油 祛痘 抗皱 防晒 滋润 修护 紧致 淡斑 去屑 防脱 舒缓 提亮 遮瑕 止痒"),
    "口味": _words("麻辣 五香 香辣 原味 草莓味 巧克力味 香草味 芒果味 蜂蜜 抹茶味 奶香 海苔味"),
    "香味": rf"(?:{_words('玫瑰 薰衣草 茉莉 樱花 栀子 桂花 檀 柠檬 薄荷')})花?香(?:味|型)?",
    "剂型": _words("胶囊 口服液 颗粒 喷雾 凝胶 乳液 精华液 膏体 软胶囊 泡腾片"),
    "接口": r"Type-?C|USB(?:-C)?|HDMI|Lightning|3\.5mm",
    "连接方式": _words("蓝牙 无线 有线 真无线 WiFi 2.4G"),
    "特点": _words(
        "防水 防滑 防风 透气 轻便 保暖 加绒 加厚 显瘦 速干 耐磨 可折叠 折叠 便携 静音 抗菌 遮光 大容量 可调节 弹力 "
        "免烫 防泼水 防摔 轻薄 超薄 免滤 防蓝光 耐脏 防臭"
    ),
    "长度": rf"{NUMBER} ?(?:cm|厘米|米)(?![A-Za-z])",
    "屏幕尺寸": rf"{NUMBER} ?(?:英寸|寸)",
    "运动项目": _words("瑜伽 篮球 足球 跑步 骑行 登山 羽毛球 乒乓球 网球 游泳 健身 滑雪 钓鱼 露营"),
}  # fmt: skip
"""Chinese name, as in taxonomy/attributes.json, to what its values look like; small and capital letters alike."""
PRODUCT, BRAND = "产品类型", "品牌"
NEVER = (
    "镜片材质",
    "宝石",
    "机芯",
    "处理器",
    "操作系统",
    "作者",
    "出版社",
    "鱼饵类型",
    "琴体材质",
    "葡萄品种",
    "酒精度",
    "面值",
    "适用车型",
    "有效期",
    "洗涤容量",
    "表带材质",
)
"""Names whose values hardly any listing of the sentences used has: asked so that a reader says nothing to them."""
_COMPILED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in PATTERNS.items()}


def values_by_wording(text: str, taken: Iterable[tuple[int, int]] = ()) -> dict[str, tuple[str, ...]]:
    """Name to the values found, none that overlaps a stretch in `taken` (code points, half open)."""
    stretches = list(taken)
    found: dict[str, tuple[str, ...]] = {}
    for name, pattern in _COMPILED.items():
        values = [
            match.group()
            for match in pattern.finditer(text)
            if not any(match.start() < end and start < match.end() for start, end in stretches)
        ]
        found[name] = tuple(dict.fromkeys(values))
    return found
