"""Polish words and how they feel, from -3 to 3; a star stands for any ending. Without diacritics, as many write."""

WORDS: dict[float, str] = {
    3.0: """
        bajeczn* bomba boski* brawo cudo cudown* doskonal* ekstra fantast* fenomenaln* genialn* idealn* kocham
        mistrzos* najlepiej najlepsz* perfekc* perfekt* petarda przepiekn* rewelac* super superow* swietn* uwielbia*
        wspanial* wyborn* wysmienit* wzorow* zachwyc* znakomi*
    """,
    2.0: """
        bezbledn* bezproblem* ciesz* dobra dobre dobrego dobrej dobroc* dobry dobrych dobrym dobrymi dobrze dzieki
        dziekow* dziekuj* elegan* fachow* fajn* gratul* kompeten* ladn* lepiej lepsz* mila mile milego milej milo
        mily milych milym milymi nienagann* niesamowi* niezapomn* niezastap* niezawodn* piekn* polecam polece poleci
        polecic polecil* polecon* pomocn* pomogl* profesjonal* przemil* przyjazn* przyjemn* pyszn* radosc* radosn*
        rzeteln* satysfakc* serdeczn* sliczn* smaczn* sympaty* szczesc* szczesl* troskliw* udan* uprzejm* urocz*
        urok* wdziecz* wygodn* wyleczy* wyrozumial* zadowal* zadowol* zyczliw*
    """,
    1.2: """
        atrakcyjn* bezpieczn* blyskawiczn* bogat* ciekaw* ciepl* cierpliw* czysciutk* czysta czyste czysto czysty
        czytelna czytelne czytelny delikatn* docenia* dokladn* efektown* efektywn* intuicyjn* komfort* kultura*
        latw* lubi lubie lubimy madr* naprawion* niezla niezle niezly niezwyk* oddan* opiekuncz* optymi* plus plusem
        plusy plynn* podoba podobaj* podobal* polubil* pomaga* pomoc pomog* popraw* poprawn* przejrzyst* przestronn*
        rodzinn* skuteczn* solidn* spokojn* sprawn* sukces* swobodn* szacunek szybcie* szybk* trafn* ulepsz*
        uratowal* usmiech* usprawni* wart warta warte warto zabawn* zainteresowan* zaleca zaleta zalety zaufan*
        zyskal*
    """,
    0.8: "dziala dzialaja dzialal dzialalo nowoczesn* ok okej prosta proste prosto prosty spoko smialo",
    -0.8: """
        daleko dlugo glosno glosny ignor* ledwo minus minusem minusy przecietn* przestal* skomplikowan* stare stary
        trudn* unika* wolniej wolno zimn*
    """,
    -1.2: """
        bol bola bolesn* boli brakowal* brakuj* brudno ciasn* drogo duszn* halas* klopot* meczac* nerwow* niemozliw*
        niepotrzebn* niewystarcz* obaw* omija* opoznien* pomija* problem* przeplac* reklamac* skarg* smutn* szkoda
        ubog* utrudni* watpliw* wylogow* wymusz* zapomnia* zbedn* zmecz* znik* zniszcz*
    """,
    -1.6: """
        awari* blad bladzi bled* ciezko dziwn* halasliw* krzyw* lagi laguj* martw* martwi* muli niebezpiecz*
        nieczyteln* niedzial* nieodpowied* niestet* niewygodn* nudn* obojetn* powoln* przykr* strac* strach* strat*
        usterk* utrac* wada wady wiesza* zaciec* zacina* zal zawiesil* zawiesz* zmarnow*
    """,
    -2.0: """
        brak brud brudn* brzydk* chory crash* denerw* frustr* glup* gorsz* gorzej grzyb irytac* irytuj* karaluch*
        kiepsk* klam* kpin* lekcewaz* marne marny nachaln* naciaga* niechec* niechetn* niedobr* niegrzeczn*
        nieintuic* niekompet* niemil* nieporozum* nieprofesj* nieprzyjemn* nierzetel* niesmaczn* niestabil*
        nieuprzejm* niezadowol* obskur* oburz* odrap* oszczed* plesn* podejrzan* popsu* psuja psuje rozczarow* slab*
        smierdz* smrod* uszkodz* wkurz* wscie* wstyd* wysyp* wywal* wyzysk* zalama* zaniedban* zart zarty zawiedl*
        zawiedz* zawiod* zdenerw* zepsu* zignor* zla zle zlego zlej zly znieche* znudz*
    """,
    -3.0: """
        arogan* badziew* bezczel* beznadziej* bezuzyteczn* cham chamsk* chlam dno dramat* fataln* gown* gowno horror
        idiot* katastrof* koszmar* masakr* najgorsz* nieakcept* niedopuszcz* nienawidz* obrzydliw* odradza* ohydn*
        okropn* oszuk* oszust* paskud* porazk* skandal* syf szmir* tragedi* tragic* tragicz* wkurw* wstret* zalosn*
        zenad* zenuj* zlodziej*
    """,
}

NEGATIONS = "ani bez nie nigdy nic nikt niczego nikogo zaden zadna zadne zadnego zadnych zadnej"

LOUDER = """
    absolutnie bardzo calkiem calkowicie ciagle coraz duzo kompletnie mega naprawde niezwykle ogromnie okropnie
    strasznie szczegolnie tak taka taki totalnie wciaz wielce wyjatkowo wyjatkowy zbyt zupelnie
"""
SOFTER = "dosc lekko nieco odrobine prawie raczej troche troszke"

WISHES = "bylaby byloby bylby gdyby moglby mogloby moglaby powinien powinna powinno przydalby przydaloby"

BUT = "ale jednak lecz natomiast tylko"

# Turns of phrase, over lower-case words without diacritics and punctuation.
PHRASES: tuple[tuple[str, float], ...] = (
    (r"nie (?:\w+ )?dzialaj?a?l?[oay]?", -1.6),
    (r"nie (?:moge|mozna|da sie|moglem|moglam|mozemy|udalo|udaje|laduje|otwiera|zapisuje|widze)", -1.6),
    (r"nie polec\w+", -1.6),
    (r"nie warto", -1.0),
    (r"przestal\w* (?:dzialac|sie)", -1.4),
    (r"strata? (?:czasu|pieniedzy)", -1.4),
    (r"bez (?:zarzutu|zastrzezen|problem\w*)", 2.4),
    (r"w porzadku", 1.6),
    (r"na plus", 0.8),
    (r"na minus", -0.8),
    (r"pod wrazeniem", 2.4),
    (r"nic (?:specjalnego|ciekawego)", -1.6),
    (r"do zyczenia", -2.4),
    (r"z daleka", -1.6),
    (r"goraco polecam", 1.0),
    (r"tak trzymac|oby tak dalej", 2.4),
    (r"(?:trwa|czeka\w*|laduje) (?:\w+ )?\d+ (?:s|sek|sekund\w*|min|minut\w*|godzin\w*)", -1.6),
    (r"za (?:wolno|dlugo|drogo|malo|duzo|maly|duzy|male|duze|ciasno|glosno|zimno)", -1.2),
    (r"wolno (?:dziala|chodzi|sie)", -1.2),
    (r"(?:dziala|chodzi|laduje sie) (?:\w+ )?wolno", -1.2),
    (r"(?:pobral\w*|obciaz\w*|naliczyl\w*) (?:\w+ )?(?:dwa razy|dwukrotnie|podwojnie)", -2.0),
    (r"nie ma (?:\w+ )?(?:sobie rownych|do czego)", 2.4),
    (r"mam dosc|mamy dosc", -2.4),
)
