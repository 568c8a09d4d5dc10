(** The Taylor terms: differentiable, and together the quadratic model. *)
From Coq Require Import Reals Lra Lia Arith Bool.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions Statements Sums Calculus.
Open Scope R_scope.

(** Sums over all entries of what is zero but at one entry, or in one row. *)
Lemma pick_row n i f : (i < n)%nat -> \sum_(a < n) delta i a * f a = f i.
Proof.
  intros Hi. rewrite (fsum_single n i).
  - rewrite delta_eq. ring.
  - assumption.
  - intros a _ Ha. rewrite delta_neq by auto. ring.
Qed.

Lemma pick_entry n D i d f : (i < n)%nat -> (d < D)%nat ->
  \sum_(a < n) \sum_(b < D) f a b * (delta i a * delta d b) = f i d.
Proof.
  intros Hi Hd. rewrite <- (pick_row n i (fun a => f a d) Hi). apply fsum_ext; intros a _.
  rewrite <- (pick_row D d (fun b => delta i a * f a b) Hd). apply fsum_ext; intros b _. ring.
Qed.

(** One factor of a term. *)
Lemma differentiable_shifted n D Y y0 i d : (i < n)%nat -> (d < D)%nat ->
  differentiable n D (fun y => y i d - y0 d) Y (fun i' d' => delta i' i * delta d' d).
Proof.
  intros Hi Hd. apply (differentiable_minus_const n D Y (y0 d)). now apply differentiable_entry.
Qed.

Lemma first_differentiable n D g y0 Y :
  differentiable n D (first_term n D g y0) Y (fun _ d => g d).
Proof.
  unfold first_term.
  eapply differentiable_val; [|apply differentiable_fsum; intros i Hi;
    apply differentiable_fsum; intros d Hd; apply differentiable_scal, differentiable_shifted;
    assumption].
  intros i d Hi Hd. cbv beta. apply (pick_entry n D i d (fun _ b => g b)); assumption.
Qed.

Lemma diag_differentiable n D H y0 Y :
  differentiable n D (diag_term n D H y0) Y (fun i d => H d d * (Y i d - y0 d)).
Proof.
  unfold diag_term.
  eapply differentiable_val; [|apply differentiable_scal, differentiable_fsum; intros i Hi;
    apply differentiable_fsum; intros d Hd;
    apply differentiable_scal, differentiable_square, differentiable_shifted; assumption].
  intros i d Hi Hd. cbv beta.
  rewrite (fsum_ext n _ (fun a => \sum_(b < D) 2 * (H b b * (Y a b - y0 b))
                                  * (delta i a * delta d b))).
  - rewrite pick_entry by assumption. field.
  - intros a _. apply fsum_ext; intros b _. ring.
Qed.

(** The derivative of a quadratic form. *)
Lemma form_differentiable n D (K : matrix) y0 Y :
  (forall d e, (d < D)%nat -> (e < D)%nat -> K d e = K e d) ->
  differentiable n D
    (fun y => / 2 * \sum_(i < n) \sum_(d < D) \sum_(e < D)
                      K d e * (y i d - y0 d) * (y i e - y0 e)) Y
    (fun i d => \sum_(e < D) K d e * (Y i e - y0 e)).
Proof.
  intros Hsym.
  eapply differentiable_val; [|apply differentiable_scal, differentiable_fsum; intros i Hi;
    apply differentiable_fsum; intros d Hd; apply differentiable_fsum; intros e He;
    apply (differentiable_mult n D Y (fun y => K d e * (y i d - y0 d)));
    [apply differentiable_scal|]; apply differentiable_shifted; assumption].
  intros i d Hi Hd. cbv beta. set (v := fun a e => Y a e - y0 e).
  rewrite (fsum_ext n _ (fun a =>
    (\sum_(b < D) (\sum_(e < D) K b e * v a e) * (delta i a * delta d b))
    + \sum_(b < D) (\sum_(e < D) K e b * v a e) * (delta i a * delta d b))).
  - rewrite fsum_plus, !pick_entry by assumption.
    rewrite (fsum_ext D (fun e => K e d * v i e) (fun e => K d e * v i e))
      by (intros e He; now rewrite (Hsym e d)).
    unfold v. field.
  - intros a _. rewrite (fsum_ext D (fun b => (\sum_(e < D) K e b * v a e) * _)
      (fun b => \sum_(e < D) K e b * v a e * (delta i a * delta d b)))
      by (intros; now rewrite <- fsum_scal_r).
    rewrite (fsum_swap D D (fun b e => K e b * v a e * (delta i a * delta d b))), <- fsum_plus.
    apply fsum_ext; intros b _. rewrite <- fsum_scal_r, <- fsum_plus.
    apply fsum_ext; intros e _. unfold v. ring.
Qed.

Lemma off_diagonal_symmetric D H : symmetric D H -> symmetric D (off_diagonal H).
Proof.
  intros Hsym d e Hd He. unfold off_diagonal. rewrite (Nat.eqb_sym e d).
  destruct (Nat.eqb d e); auto.
Qed.

Lemma offdiag_differentiable n D H y0 Y : symmetric D H ->
  differentiable n D (offdiag_term n D H y0) Y
    (fun i d => \sum_(e < D) off_diagonal H d e * (Y i e - y0 e)).
Proof. intros Hsym. now apply form_differentiable, off_diagonal_symmetric. Qed.

(** A sum over all [e], and its term at [d]. *)
Lemma split_diagonal D d (K : matrix) f : (d < D)%nat ->
  \sum_(e < D) K d e * f e = K d d * f d + \sum_(e < D) off_diagonal K d e * f e.
Proof.
  intros Hd. rewrite <- (pick_row D d (fun e => K e e * f e) Hd), <- fsum_plus.
  apply fsum_ext; intros e _. unfold off_diagonal.
  destruct (Nat.eqb_spec d e) as [->|N]; [rewrite delta_eq | rewrite delta_neq by assumption];
    ring.
Qed.

Theorem T5_split_holds : T5_split.
Proof.
  intros n D c g H y0 y. unfold taylor2, first_term, diag_term, offdiag_term.
  rewrite !fsum_plus, fsum_const, fsum_scal, !Rplus_assoc. do 2 f_equal.
  rewrite <- Rmult_plus_distr_l, <- fsum_plus. f_equal. apply fsum_ext; intros i _.
  rewrite <- fsum_plus. apply fsum_ext; intros d Hd.
  rewrite (fsum_ext D _ (fun e => H d e * ((y i d - y0 d) * (y i e - y0 e))))
    by (intros; ring).
  rewrite (split_diagonal D d H (fun e => (y i d - y0 d) * (y i e - y0 e)) Hd). f_equal.
  - ring.
  - apply fsum_ext; intros; ring.
Qed.

Lemma taylor2_differentiable n D c g H y0 Y : symmetric D H ->
  differentiable n D (taylor2 n D c g H y0) Y
    (fun i d => g d + \sum_(e < D) H d e * (Y i e - y0 e)).
Proof.
  intros Hsym.
  apply (differentiable_ext n D (fun y =>
    INR n * c + first_term n D g y0 y + diag_term n D H y0 y + offdiag_term n D H y0 y)).
  { intros y. symmetry. apply T5_split_holds. }
  eapply differentiable_val; [|apply differentiable_plus; [apply differentiable_plus;
    [apply differentiable_plus; [apply differentiable_const | apply first_differentiable]
    |apply diag_differentiable] | now apply offdiag_differentiable]].
  intros i d _ Hd. cbv beta.
  rewrite (split_diagonal D d H (fun e => Y i e - y0 e) Hd). ring.
Qed.
